// One case by pgx: pool URL CASE [SQL SQL], the password on standard input. Prints the answer.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v4"
)

var url, password string

func main() {
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	url, password = os.Args[1], strings.TrimSpace(line)
	answer, err := run(context.Background(), os.Args[2], os.Args[3:])
	if err != nil {
		answer = err.Error()
	}
	fmt.Println(answer)
}

func connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.Password = password
	return pgx.ConnectConfig(ctx, config)
}

func run(ctx context.Context, what string, statements []string) (string, error) {
	client, err := connect(ctx)
	if err != nil {
		return "", err
	}
	defer client.Close(ctx)
	switch what {
	case "query":
		return one(ctx, client, statements[0])
	case "after":
		if _, err := client.Exec(ctx, statements[0]); err != nil {
			return "", err
		}
		other, err := connect(ctx)
		if err != nil {
			return "", err
		}
		defer other.Close(ctx)
		return one(ctx, other, statements[1])
	case "prepared":
		// On one server connection, then on another one.
		if _, err := number(ctx, client, 1); err != nil {
			return "", err
		}
		other, err := connect(ctx)
		if err != nil {
			return "", err
		}
		defer other.Close(ctx)
		if _, err := other.Exec(ctx, "BEGIN"); err != nil {
			return "", err
		}
		return number(ctx, client, 2)
	case "batch":
		batch := &pgx.Batch{}
		for i := 0; i < 20; i++ {
			batch.Queue("SELECT $1::int", i)
		}
		results := client.SendBatch(ctx, batch)
		defer results.Close()
		sum := 0
		for i := 0; i < 20; i++ {
			var found int
			if err := results.QueryRow().Scan(&found); err != nil {
				return "", err
			}
			sum += found
		}
		return fmt.Sprint(sum), nil
	case "copy":
		tx, err := client.Begin(ctx)
		if err != nil {
			return "", err
		}
		defer tx.Rollback(ctx)
		if _, err := tx.Exec(ctx, "CREATE TEMP TABLE b (n int) ON COMMIT DROP"); err != nil {
			return "", err
		}
		rows := pgx.CopyFromRows([][]interface{}{{1}, {2}, {3}})
		copied, err := tx.CopyFrom(ctx, pgx.Identifier{"b"}, []string{"n"}, rows)
		return fmt.Sprint(copied), err
	case "timeout":
		short, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		_, err := client.Exec(short, "SELECT pg_sleep(60)")
		return fmt.Sprintf("%v; closed: %v", err, client.IsClosed()), nil
	case "listen":
		if _, err := client.Exec(ctx, "LISTEN news"); err != nil {
			return "", err
		}
		other, err := connect(ctx)
		if err != nil {
			return "", err
		}
		defer other.Close(ctx)
		if _, err := other.Exec(ctx, "NOTIFY news, 'first'"); err != nil {
			return "", err
		}
		short, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		heard, err := client.WaitForNotification(short)
		if err != nil {
			return "nothing", nil
		}
		return heard.Payload, nil
	}
	return "", fmt.Errorf("no such case: %s", what)
}

func one(ctx context.Context, client *pgx.Conn, query string) (string, error) {
	var found string
	err := client.QueryRow(ctx, query).Scan(&found)
	return found, err
}

func number(ctx context.Context, client *pgx.Conn, value int) (string, error) {
	var found int
	err := client.QueryRow(ctx, "SELECT $1::int", value).Scan(&found)
	return fmt.Sprint(found), err
}
