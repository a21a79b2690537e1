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

// An item without a title is named by its id.
const named = (one) => ({ ...one, title: one.title || String(one.item) });

export const models = () => call("models");

export async function items(search, limit, signal) {
  const answer = await get("items", { search, limit }, signal);
  return { total: answer.total, items: answer.items.map(named) };
}

export const starters = async (n) => (await get("starters", { n })).items.map(named);

export const similar = async (parameters) => (await get("similar", parameters)).items.map(named);

export async function recommend(body, signal) {
  const answer = await post("recommend", body, signal);
  return { ...answer, items: answer.items.map((one) => ({ ...named(one), reasons: one.reasons?.map(named) ?? [] })) };
}

export async function explain(body) {
  const answer = await post("explain", body);
  return { ...answer, reasons: answer.reasons.map(named) };
}
