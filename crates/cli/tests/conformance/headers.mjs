// Adds headers to every request of the conformance suite, which has no option for a credential. Loaded with `node --import`.
import http from "node:http";
import { createRequire, syncBuiltinESMExports } from "node:module";

const extra = JSON.parse(process.env.EXTRA_HEADERS ?? "{}");

// Headers of undici come as a flat list, as pairs, or as an object.
function withExtra(headers) {
  if (Array.isArray(headers)) return [...headers, ...Object.entries(extra).flat()];
  if (headers && typeof headers[Symbol.iterator] === "function") return [...headers, ...Object.entries(extra)].flat();
  return { ...headers, ...extra };
}

// The suite's own undici also serves `fetch`, by the dispatcher that both share.
const undici = createRequire(process.argv[1])("undici");
const adding = (dispatch) => (options, handler) => dispatch({ ...options, headers: withExtra(options.headers) }, handler);
undici.setGlobalDispatcher(undici.getGlobalDispatcher().compose(adding));

const request = http.request;
http.request = (options, ...rest) => request({ ...options, headers: { ...options.headers, ...extra } }, ...rest);
syncBuiltinESMExports();
