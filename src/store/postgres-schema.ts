// The tables in PostgreSQL and how they came about: numbered steps, each in the same transaction as the note that it was done, under
// a lock that one replica has at a time. A step is never altered once published, and what it does must not break the release before.

import { Hopeless, type Queries } from "./postgres-connection.ts";

/** Brings the schema to what this version knows; throws where a newer version left it unfit for this one. */
export async function migrate(client: Queries): Promise<void> {
  await client.query("BEGIN");
  await client.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
  const present = await presentSchema(client);
  if (present.needs > STEPS.length) {
    throw new Hopeless(
      `a newer version of Sallyport has changed the database (schema ${present.version}); this one knows ${STEPS.length}`,
    );
  }
  for (const [index, step] of STEPS.entries()) {
    const version = index + 1;
    if (version <= present.version) continue;
    if (version === 1 && !present.schema) await client.query("CREATE SCHEMA sallyport");
    await client.query(step.sql);
    await client.query("INSERT INTO sallyport.migrations (version, needs) VALUES ($1, $2)", [
      version,
      step.needs,
    ]);
  }
  await client.query("COMMIT");
}

type Present = {
  readonly schema: boolean;
  /** 0: none is there. */
  readonly version: number;
  /** The least version that may use it. */
  readonly needs: number;
};

async function presentSchema(client: Queries): Promise<Present> {
  const { rows } = await client.query<Record<string, unknown>>(PRESENT);
  const [{ schema, migrations, encoding } = {}] = rows;
  if (encoding !== "UTF8") throw new Hopeless(`the database's encoding is ${String(encoding)}, not UTF8`);
  if (migrations !== true) return { schema: schema === true, version: 0, needs: 0 };
  const found = await client.query<Record<string, unknown>>(
    "SELECT max(version) AS version, max(needs) AS needs FROM sallyport.migrations",
  );
  return {
    schema: true,
    version: Number(found.rows[0]?.["version"] ?? 0),
    needs: Number(found.rows[0]?.["needs"] ?? 0),
  };
}

const PRESENT = `
SELECT to_regnamespace('sallyport') IS NOT NULL AS schema,
       to_regclass('sallyport.migrations') IS NOT NULL AS migrations,
       current_setting('server_encoding') AS encoding`;

/** "sallypor" read as a number: nobody else's by accident. */
const LOCK = "8313474985839685490";

type Step = {
  /** The least number of steps that a replica must know to go on using the tables once this one is done. */
  readonly needs: number;
  readonly sql: string;
};

// Names are compared octet by octet ("C"): an update of the system's collations must not break an index.
const STEPS: readonly Step[] = [
  {
    needs: 1,
    sql: `
CREATE TABLE sallyport.migrations (
  version integer PRIMARY KEY,
  needs integer NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE sallyport.documents (
  kind text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  body text,
  revision bigint NOT NULL,
  changed timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, id)
);
CREATE INDEX documents_by_revision ON sallyport.documents (revision);
CREATE INDEX documents_removed ON sallyport.documents (changed) WHERE body IS NULL;
CREATE TABLE sallyport.counters (
  counter text COLLATE "C" NOT NULL,
  started bigint NOT NULL,
  until bigint NOT NULL,
  spent bigint NOT NULL,
  granted bigint NOT NULL,
  PRIMARY KEY (counter, started)
) WITH (fillfactor = 70);
CREATE INDEX counters_over ON sallyport.counters (until) WHERE until > 0;
CREATE TABLE sallyport.revision (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  revision bigint NOT NULL,
  floor bigint NOT NULL
);
INSERT INTO sallyport.revision (revision, floor) VALUES (0, 0);
`,
  },
];
