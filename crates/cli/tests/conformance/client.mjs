// The official TypeScript SDK as a client: connects in one era, uses each sort of thing once, and prints what it got as one JSON object.
const [modules, url, era, token] = process.argv.slice(2);
const sdk = await import(`${modules}/@modelcontextprotocol/client/dist/index.mjs`);

const versionNegotiation = { mode: era === "modern" ? { pin: "2026-07-28" } : "legacy" };
const client = new sdk.Client(
  { name: "test", version: "1" },
  { capabilities: { elicitation: { form: {} } }, versionNegotiation },
);
client.setRequestHandler("elicitation/create", async () => ({
  action: "accept",
  content: { name: "Alice", username: "Alice", email: "alice@example.com" },
}));
const transport = new sdk.StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
await client.connect(transport);

const got = { version: client.getNegotiatedProtocolVersion?.() };
const attempt = async (name, act) => {
  try {
    got[name] = await act();
  } catch (cause) {
    got[name] = { failed: `${cause.message ?? cause}`, code: cause.code };
  }
};
await attempt("tools", async () => (await client.listTools()).tools.map((tool) => tool.name));
await attempt("prompts", async () => (await client.listPrompts()).prompts.map((prompt) => prompt.name));
await attempt("resources", async () => (await client.listResources()).resources.map((resource) => resource.uri));
for (const step of JSON.parse(process.argv[6] ?? "[]")) {
  const act = {
    tool: () => client.callTool({ name: step.name, arguments: step.arguments ?? {} }),
    prompt: () => client.getPrompt({ name: step.name, arguments: step.arguments ?? {} }),
    resource: () => client.readResource({ uri: step.name }),
  }[step.kind];
  await attempt(step.name, act);
}
await client.close();
console.log(JSON.stringify(got));
