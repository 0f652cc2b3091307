// What is asked of PostgreSQL. Writers wait for one another at the one row of `revision`, so that a later revision is never seen
// before an earlier one; each reading is one statement, and so of one moment. A standby is never asked, as it may be behind.

import { changeOf, documentOf, type Row, textOf } from "./documents.ts";
import type { Queries } from "./postgres-connection.ts";
import type { Change, Document, Draw, Kind, Read, Write, Written } from "./types.ts";

export const CHANNEL = "sallyport";

export async function readAll(client: Queries): Promise<Read<Document>> {
  await client.query(LONG_READ);
  const rows = await all(client, READ);
  await client.query("COMMIT");
  return { revision: Number(theFirst(rows)["revision"]), items: rows.filter(hasDocument).map(documentOf) };
}

export async function changesAfter(client: Queries, after: number): Promise<Read<Change> | undefined> {
  const rows = await all(client, CHANGES, [after]);
  const first = theFirst(rows);
  const revision = Number(first["revision"]);
  if (after < Number(first["floor"]) || after > revision) return undefined;
  return { revision, items: rows.filter(hasDocument).map(changeOf) };
}

export async function writeAll(client: Queries, writes: readonly Write[]): Promise<Written> {
  await client.query(LOCK_REVISION);
  const rows = await all(client, WRITE, [
    writes.map(({ kind }) => kind),
    writes.map(({ id }) => id),
    writes.map(({ version }) => version),
    writes.map(({ body }) => (body === undefined ? null : textOf(body))),
  ]);
  const { revision, kind, id } = theFirst(rows);
  if (revision === null) {
    await client.query("ROLLBACK");
    return { ok: false, conflict: { kind: kind as Kind, id: String(id) } };
  }
  await client.query(`NOTIFY ${CHANNEL}, '${Number(revision)}'; COMMIT`);
  return { ok: true, revision: Number(revision), versions: writes.map(({ version }) => version + 1) };
}

export async function drawFrom(client: Queries, draw: Draw): Promise<number> {
  const { counter, window, until, amount, limit } = draw;
  return Number(theFirst(await all(client, DRAW, [counter, window, until, amount, limit]))["granted"]);
}

export async function spentOf(client: Queries, counter: string, window: number): Promise<number> {
  return Number((await all(client, SPENT, [counter, window]))[0]?.["spent"] ?? 0);
}

export async function currentRevision(client: Queries): Promise<number> {
  return Number(theFirst(await all(client, REVISION))["revision"]);
}

/** What nobody asks for any more. */
export async function forget(client: Queries): Promise<void> {
  await client.query(FORGET_COUNTERS);
  if ((await all(client, REMOVED)).length === 0) return;
  await client.query(LOCK_REVISION);
  await client.query(FORGET_REMOVED);
  await client.query("COMMIT");
}

async function all(client: Queries, sql: string, values: unknown[] = []): Promise<readonly Row[]> {
  return (await client.query<Record<string, unknown>>(sql, values)).rows;
}

function theFirst([row]: readonly Row[]): Row {
  if (row === undefined) throw new Error("the database is a read-only standby");
  return row;
}

const hasDocument = ({ kind }: Row): boolean => kind !== null;

const REVISION = "SELECT revision FROM sallyport.revision WHERE NOT pg_is_in_recovery()";
/** It may take longer than what waits for a row. */
const LONG_READ = "BEGIN READ ONLY; SET LOCAL statement_timeout = 9000";
const READ = `
SELECT r.revision, d.kind, d.id, d.version, d.body
FROM sallyport.revision r LEFT JOIN sallyport.documents d ON d.body IS NOT NULL
WHERE NOT pg_is_in_recovery()`;
const CHANGES = `
SELECT r.revision, r.floor, d.kind, d.id, d.version, d.body
FROM sallyport.revision r LEFT JOIN sallyport.documents d ON d.revision > $1 AND $1 >= r.floor
WHERE NOT pg_is_in_recovery() ORDER BY d.revision`;
const LOCK_REVISION = "BEGIN; SELECT FROM sallyport.revision FOR UPDATE";
const WRITE = `
WITH asked AS (
  SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
    WITH ORDINALITY AS a (kind, id, version, body, at)
), stale AS (
  SELECT a.kind, a.id FROM asked a
    LEFT JOIN sallyport.documents d ON d.kind = a.kind AND d.id = a.id AND d.body IS NOT NULL
  WHERE coalesce(d.version, 0) <> a.version ORDER BY a.at LIMIT 1
), moved AS (
  UPDATE sallyport.revision SET revision = revision + 1 WHERE NOT EXISTS (SELECT FROM stale)
  RETURNING revision
), written AS (
  INSERT INTO sallyport.documents (kind, id, version, body, revision)
  SELECT a.kind, a.id, a.version + 1, a.body, m.revision FROM asked a CROSS JOIN moved m
  ON CONFLICT (kind, id) DO UPDATE SET
    version = excluded.version, body = excluded.body, revision = excluded.revision, changed = now()
)
SELECT m.revision, s.kind, s.id
FROM (SELECT) AS always LEFT JOIN moved m ON true LEFT JOIN stale s ON true`;
const DRAW = `
INSERT INTO sallyport.counters AS c (counter, started, until, spent, granted)
VALUES ($1, $2, $3, greatest(0, least($4::bigint, $5::bigint)), greatest(0, least($4, $5)))
ON CONFLICT (counter, started) DO UPDATE SET
  until = excluded.until,
  spent = c.spent + CASE WHEN $4 < 0 THEN greatest($4, -c.spent) ELSE greatest(0, least($4, $5 - c.spent)) END,
  granted = CASE WHEN $4 < 0 THEN greatest($4, -c.spent) ELSE greatest(0, least($4, $5 - c.spent)) END
RETURNING granted`;
const SPENT = "SELECT spent FROM sallyport.counters WHERE counter = $1 AND started = $2";
/** With ten minutes for clocks that differ. */
const FORGET_COUNTERS = `
DELETE FROM sallyport.counters
WHERE until > 0 AND until < (extract(epoch FROM now()) - 600) * 1000`;
/** A removal is told of for an hour; who was away for longer reads everything anew. */
const OLD = "body IS NULL AND changed < now() - interval '1 hour'";
const REMOVED = `SELECT FROM sallyport.documents WHERE ${OLD} LIMIT 1`;
const FORGET_REMOVED = `
WITH gone AS (DELETE FROM sallyport.documents WHERE ${OLD} RETURNING revision)
UPDATE sallyport.revision SET floor = greatest(floor, (SELECT max(revision) FROM gone))`;
