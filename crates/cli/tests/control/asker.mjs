// The official TypeScript SDK as a client that can be sent to a page: makes calls one by one, as it is told. It hears and tells what `asker.py` does; the
// first line says `modules` and `era` instead of `mode`.
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const heard = async () => {
  const { value, done } = await lines.next();
  return done ? null : JSON.parse(value);
};
const tell = (value) => console.log(JSON.stringify(value));

const order = await heard();
const sdk = await import(`${order.modules}/@modelcontextprotocol/client/dist/index.mjs`);
const versionNegotiation = { mode: order.era === "modern" ? { pin: "2026-07-28" } : "legacy" };
const client = new sdk.Client(
  { name: "test", version: "1" },
  { capabilities: { elicitation: { url: {} } }, versionNegotiation },
);
client.setRequestHandler("elicitation/create", async (request) => {
  tell({ page: request.params });
  return { action: (await heard()).action };
});
const transport = new sdk.StreamableHTTPClientTransport(new URL(order.url), {
  requestInit: { headers: { Authorization: `Bearer ${order.token}` } },
});
await client.connect(transport);
tell({ version: client.getNegotiatedProtocolVersion?.() ?? "unknown" });
for (let step = await heard(); step; step = await heard()) {
  const [name, given] = step.call;
  try {
    tell({ result: await client.callTool({ name, arguments: given }) });
  } catch (cause) {
    tell({ error: { code: cause.code, message: cause.message, data: cause.data } });
  }
}
process.exit(0);
