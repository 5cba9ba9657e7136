// Node's fetch, told what to call on stdin. The protocol is that of `Caller` in test_real_callers.py.
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");

async function* pieces(size) {
  for (let n = 0; n < 4; n++) yield new Uint8Array(size / 4).fill(117);
}

function upload({ upload: size, chunked }) {
  if (!size) return {};
  if (!chunked) return { body: new Uint8Array(size).fill(117) };
  return { body: ReadableStream.from(pieces(size)), duplex: "half" };
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const answer = await fetch(order.url, { method: order.method, redirect: "manual", ...upload(order) });
  tell({ status: answer.status, headers: Object.fromEntries(answer.headers) });
  const digest = createHash("sha256");
  for await (const piece of answer.body ?? []) {
    digest.update(piece);
    tell({ piece: Buffer.from(piece.subarray(0, 500)).toString("latin1") });
  }
  tell({ sha256: digest.digest("hex") });
}
