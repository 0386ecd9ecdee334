// The parser of server-sent events, with the cases of the HTML Standard.

import assert from "node:assert/strict";
import { test } from "node:test";
// Not a part of the package's interface.
import { parseEvents } from "#dist/changes.js";

async function parsed(...chunks: (string | Uint8Array)[]) {
  async function* bytes() {
    for (const chunk of chunks) yield typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk;
  }
  const events = [];
  for await (const { id, data, retryMs } of parseEvents(bytes())) events.push([id, data, retryMs]);
  return events;
}

test("events have an id, data and a pause", async () => {
  assert.deepEqual(await parsed("retry: 500\n\n:\nid: 7\n\nid: 8\ndata: {}\n\n"), [
    [null, "", 500],
    ["7", "", null],
    ["8", "{}", null],
  ]);
});

test("lines end in three ways, wherever the bytes are cut", async () => {
  const text = "id: 1\r\ndata: a\r\n\r\ndata: b\r\rdata:c\n\n: é\ndata\ndata:  é\n\n";
  const whole = [["1", "a", null], [null, "b", null], [null, "c", null], [null, " é", null]];
  assert.deepEqual(await parsed(text), whole);
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at <= bytes.length; at += 1) {
    assert.deepEqual(await parsed(bytes.slice(0, at), bytes.slice(at)), whole, `cut at ${at}`);
  }
  assert.deepEqual(await parsed(...[...bytes].map((byte) => Uint8Array.of(byte))), whole);
});

test("an event that is not complete is not told", async () => {
  assert.deepEqual(await parsed("data: a\n\ndata: b\n"), [[null, "a", null]]);
});

test("unknown fields and wrong values are ignored", async () => {
  assert.deepEqual(await parsed("event: x\nretry: soon\nid: a\0b\nfoo\n: data: c\ndata: d\n\n"), [
    [null, "d", null],
  ]);
});
