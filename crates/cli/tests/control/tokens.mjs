// Gets tokens of the provider as a client of it would: authorization code with PKCE, the person signing in without a browser.
//
// Arguments: issuer, client, account, nonce, [resource], the directory of node packages (unused).
import { createHash, randomBytes } from "node:crypto";

const given = process.argv.slice(2, -1);
const [issuer, client, account, nonce, resource] = given;
const jar = new Map();

async function go(url, options = {}) {
  for (let hops = 0; hops < 20; hops += 1) {
    if (url.startsWith("http://127.0.0.1/callback")) return { url, text: "" };
    const cookies = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(url, { ...options, redirect: "manual", headers: { ...options.headers, cookie: cookies } });
    for (const line of answer.headers.getSetCookie()) {
      const [pair] = line.split(";");
      const at = pair.indexOf("=");
      jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const location = answer.headers.get("location");
    if (location === null) return { url, text: await answer.text() };
    url = new URL(location, url).href;
    options = {};
  }
  throw new Error("it redirects without end");
}

const form = (fields) => ({
  method: "POST",
  headers: { "content-type": "application/x-www-form-urlencoded" },
  body: new URLSearchParams(fields).toString(),
});
const verifier = randomBytes(32).toString("base64url");
const start = new URL(`${issuer}/auth`);
start.search = new URLSearchParams({
  response_type: "code",
  client_id: client,
  redirect_uri: "http://127.0.0.1/callback",
  scope: resource ? "openid profile email act" : "openid profile email",
  nonce,
  state: "s",
  code_challenge: createHash("sha256").update(verifier).digest("base64url"),
  code_challenge_method: "S256",
  ...(resource ? { resource } : {}),
}).toString();
let page = await go(start.href);
for (let step = 0; step < 4 && page.text.includes('name="prompt"'); step += 1) {
  const prompt = /name="prompt" value="([^"]+)"/.exec(page.text)[1];
  const action = new URL(/action="([^"]+)"/.exec(page.text)[1].replaceAll("&amp;", "&"), page.url).href;
  page = await go(action, form(prompt === "login" ? { prompt, login: account, password: "x" } : { prompt }));
}
const code = new URL(page.url).searchParams.get("code");
const answer = await fetch(`${issuer}/token`, form({
  grant_type: "authorization_code",
  code,
  redirect_uri: "http://127.0.0.1/callback",
  client_id: client,
  code_verifier: verifier,
  ...(resource ? { resource } : {}),
}));
console.log(JSON.stringify(await answer.json()));
