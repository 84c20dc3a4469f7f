//! One case by sqlx: pool URL CASE [SQL SQL], the password on standard input. Prints the answer.

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Error, PgConnection};
use std::str::FromStr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mut password = String::new();
    std::io::stdin().read_line(&mut password).expect("standard input");
    let options = PgConnectOptions::from_str(&arguments[1]).expect("a URL").password(password.trim());
    match run(options, &arguments[2], &arguments[3..]).await {
        Ok(answer) => println!("{answer}"),
        Err(error) => println!("{error}"),
    }
}

async fn run(options: PgConnectOptions, what: &str, statements: &[String]) -> Result<String, Error> {
    let mut client = options.connect().await?;
    match what {
        "query" => one(&mut client, &statements[0]).await,
        "after" => {
            sqlx::query(&statements[0]).execute(&mut client).await?;
            one(&mut options.connect().await?, &statements[1]).await
        }
        "prepared" => prepared(&mut client, &options, true).await,
        "not persistent" => prepared(&mut client, &options, false).await,
        "copy" => {
            let mut transaction = client.begin().await?;
            sqlx::raw_sql("CREATE TEMP TABLE b (n int) ON COMMIT DROP").execute(&mut *transaction).await?;
            let mut rows = transaction.copy_in_raw("COPY b FROM STDIN").await?;
            rows.send(&b"1\n2\n3\n"[..]).await?;
            Ok(rows.finish().await?.to_string())
        }
        "timeout" => {
            // The future is dropped.
            let query = sqlx::query("SELECT pg_sleep(60)").execute(&mut client);
            let given_up = tokio::time::timeout(SECOND, query).await.is_err();
            let mut other = options.connect().await?;
            let running = one(
                &mut other,
                "SELECT count(*)::text FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'",
            )
            .await?;
            sqlx::raw_sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
                .execute(&mut other)
                .await?;
            Ok(format!("given up: {given_up}; still running: {running}"))
        }
        "listen" => {
            let pool = PgPoolOptions::new().connect_with(options).await?;
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen("news").await?;
            sqlx::query("NOTIFY news, 'first'").execute(&mut client).await?;
            match tokio::time::timeout(SECOND, listener.recv()).await {
                Ok(heard) => Ok(heard?.payload().into()),
                Err(_) => Ok("nothing".into()),
            }
        }
        _ => panic!("no such case: {what}"),
    }
}

/// On one server connection, then on another one.
async fn prepared(client: &mut PgConnection, options: &PgConnectOptions, persistent: bool) -> Result<String, Error> {
    number(client, 1, persistent).await?;
    let mut other = options.connect().await?;
    sqlx::raw_sql("BEGIN").execute(&mut other).await?;
    number(client, 2, persistent).await
}

async fn number(client: &mut PgConnection, value: i32, persistent: bool) -> Result<String, Error> {
    let query = sqlx::query_scalar::<_, i32>("SELECT $1::int").bind(value).persistent(persistent);
    Ok(query.fetch_one(client).await?.to_string())
}

async fn one(client: &mut PgConnection, query: &str) -> Result<String, Error> {
    sqlx::query_scalar(query).fetch_one(client).await
}
