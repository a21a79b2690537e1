// The service, called by one function a route; an answer that is no success is an Error with its detail.

async function call(route, options) {
  const response = await fetch(`v1/${route}`, options);
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? problem.title ?? response.statusText);
}

const get = (route, parameters, signal) => call(`${route}?${new URLSearchParams(parameters)}`, { signal });
const post = (route, body, signal) =>
  call(route, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

export const models = () => call("models");
export const items = (search, limit, signal) => get("items", { search, limit }, signal);
export const starters = (n, offset) => get("starters", { n, offset });
export const similar = (item, n, model) => get("similar", { item, n, model });
export const recommend = (body, signal) => post("recommend", body, signal);
export const explain = (body) => post("explain", body);
