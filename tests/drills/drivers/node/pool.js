// One case by node-postgres: pool.js URL CASE [SQL SQL], the password on standard input. Prints the answer.
const { Client } = require("pg");
const { readFileSync } = require("fs");

const [url, what, ...statements] = process.argv.slice(2);
// A connection string overrules a password beside it, even where it has none.
process.env.PGPASSWORD = readFileSync(0, "utf8").trim();
const connect = async () => {
  const client = new Client({ connectionString: url });
  await client.connect();
  return client;
};
const one = async (client, text) => Object.values((await client.query(text)).rows[0])[0];

// On one server connection, then on another one.
const moved = async (client, query) => {
  await client.query(query(1));
  const other = await connect();
  await other.query("BEGIN");
  const found = (await client.query(query(2))).rows[0].n;
  await other.end();
  return found;
};

const cases = {
  query: (client) => one(client, statements[0]),
  async after(client) {
    await client.query(statements[0]);
    const other = await connect();
    const found = await one(other, statements[1]);
    await other.end();
    return found;
  },
  prepared: (client) =>
    moved(client, (number) => ({ name: "mine", text: "SELECT $1::int AS n", values: [number] })),
  parameters: (client) => moved(client, (number) => ({ text: "SELECT $1::int AS n", values: [number] })),
  async timeout(client) {
    const told = await client.query("SELECT pg_sleep(60)").catch((error) => error.message);
    const other = await connect();
    const left = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
    const running = await one(other, left);
    await other.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'");
    await other.end();
    return `${told}; still running: ${running}`;
  },
  async listen(client) {
    const heard = new Promise((done) => {
      client.on("notification", (message) => done(message.payload));
      setTimeout(() => done("nothing"), 1000);
    });
    await client.query("LISTEN news");
    const other = await connect();
    await other.query("NOTIFY news, 'first'");
    await other.end();
    return heard;
  },
};

(async () => {
  try {
    const client = await connect();
    console.log(String(await cases[what](client)));
  } catch (error) {
    console.log(error.message);
  }
  // Whatever is still connected.
  process.exit();
})();
