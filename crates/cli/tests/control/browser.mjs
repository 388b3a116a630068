// A person at a browser: follows the provider's pages from an address to wherever it redirects at the end, and signs in as an account.
//
// Arguments: the address, the account. With a third one, the code of a device is typed in.
const [start, account, code] = process.argv.slice(2);
const jar = new Map();

async function go(url, options = {}) {
  for (let hops = 0; hops < 20; hops += 1) {
    const cookies = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(url, { ...options, redirect: "manual", headers: { ...options.headers, cookie: cookies } });
    for (const line of answer.headers.getSetCookie()) {
      const [pair] = line.split(";");
      const at = pair.indexOf("=");
      jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const location = answer.headers.get("location");
    if (location === null) return { url, text: await answer.text(), status: answer.status };
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
const action = (page) => new URL(/action="([^"]+)"/.exec(page.text)[1].replaceAll("&amp;", "&"), page.url).href;
const hidden = (page) =>
  Object.fromEntries([...page.text.matchAll(/<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"/g)].map((found) => [found[1], found[2]]));

let page = await go(start);
if (code) {
  page = await go(action(page), form({ ...hidden(page), user_code: code }));
  page = await go(action(page), form({ ...hidden(page), user_code: code, confirm: "yes" }));
}
for (let step = 0; step < 4 && page.text.includes('name="prompt"'); step += 1) {
  const prompt = /name="prompt" value="([^"]+)"/.exec(page.text)[1];
  page = await go(action(page), form(prompt === "login" ? { prompt, login: account, password: "x" } : { prompt }));
}
console.log(JSON.stringify({ status: page.status, url: page.url, text: page.text.slice(0, 300) }));
