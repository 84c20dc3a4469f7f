// One case by the PostgreSQL JDBC driver: Pool URL CASE [SQL SQL], the password on standard input. Prints the answer.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import org.postgresql.PGConnection;

public class Pool {
    static String url;
    static Properties login = new Properties();

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        login.setProperty("user", "alice");
        login.setProperty("password", new BufferedReader(new InputStreamReader(System.in)).readLine());
        try {
            System.out.println(run(arguments));
        } catch (SQLException error) {
            System.out.println(error.getMessage());
        }
    }

    static String run(String[] arguments) throws Exception {
        try (Connection client = connect()) {
            switch (arguments[1]) {
                case "query":
                    return one(client, arguments[2]);
                case "after":
                    execute(client, arguments[2]);
                    try (Connection other = connect()) {
                        return one(other, arguments[3]);
                    }
                case "prepared":
                    return prepared(client, false);
                case "prepared in a transaction":
                    return prepared(client, true);
                case "batch":
                    client.setAutoCommit(false);
                    execute(client, "CREATE TEMP TABLE b (n int) ON COMMIT DROP");
                    try (PreparedStatement insert = client.prepareStatement("INSERT INTO b VALUES (?)")) {
                        for (int number = 0; number < 100; number++) {
                            insert.setInt(1, number);
                            insert.addBatch();
                        }
                        insert.executeBatch();
                    }
                    return one(client, "SELECT count(*) FROM b");
                case "copy":
                    client.setAutoCommit(false);
                    execute(client, "CREATE TEMP TABLE b (n int) ON COMMIT DROP");
                    var copies = client.unwrap(PGConnection.class).getCopyAPI();
                    copies.copyIn("COPY b FROM STDIN", new StringReader("1\n2\n3\n"));
                    return one(client, "SELECT count(*) FROM b");
                case "fetch size":
                    client.setAutoCommit(false);
                    try (Statement query = client.createStatement()) {
                        query.setFetchSize(10);
                        int found = 0;
                        try (ResultSet rows = query.executeQuery("SELECT generate_series(1, 95)")) {
                            while (rows.next()) found++;
                        }
                        return "" + found;
                    }
                case "timeout":
                    try (Statement query = client.createStatement()) {
                        query.setQueryTimeout(1);
                        query.execute("SELECT pg_sleep(60)");
                        return "not cancelled";
                    } catch (SQLException error) {
                        return error.getMessage() + "; then " + one(client, "SELECT 1");
                    }
                case "listen":
                    execute(client, "LISTEN news");
                    try (Connection other = connect()) {
                        execute(other, "NOTIFY news, 'first'");
                    }
                    var heard = client.unwrap(PGConnection.class).getNotifications(1000);
                    return heard == null || heard.length == 0 ? "nothing" : heard[0].getParameter();
                default:
                    throw new IllegalArgumentException(arguments[1]);
            }
        }
    }

    static Connection connect() throws SQLException {
        return DriverManager.getConnection(url, login);
    }

    /** On one server connection, until the driver has made it a named statement, then on another one. */
    static String prepared(Connection client, boolean transaction) throws SQLException {
        try (PreparedStatement query = client.prepareStatement("SELECT ?::int"); Connection other = connect()) {
            for (int number = 0; number < 10; number++) answer(query, number);
            other.setAutoCommit(false);
            execute(other, "SELECT 1");
            client.setAutoCommit(!transaction);
            return answer(query, 10);
        }
    }

    static String answer(PreparedStatement query, int number) throws SQLException {
        query.setInt(1, number);
        try (ResultSet found = query.executeQuery()) {
            found.next();
            return found.getString(1);
        }
    }

    static void execute(Connection client, String statement) throws SQLException {
        try (Statement made = client.createStatement()) {
            made.execute(statement);
        }
    }

    static String one(Connection client, String query) throws SQLException {
        try (Statement statement = client.createStatement(); ResultSet found = statement.executeQuery(query)) {
            found.next();
            return found.getString(1);
        }
    }
}
