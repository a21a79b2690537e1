// What the page says, in English and Spanish; each language takes the noun for what is rated.

const ENGLISH = { films: ["film", "films"], items: ["item", "items"] };
const SPANISH = { films: ["película", "películas", true], items: ["ítem", "ítems", false] };

function english(kind, unit) {
  const [one, many] = ENGLISH[kind];
  const fixed = (value, digits = 1) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const percent = (share) => share.toLocaleString("en", { style: "percent" });
  const number = (value, digits = 1) => value.toLocaleString("en", { maximumFractionDigits: digits });
  const stars = (n) => `${number(n)}\u00a0${unit === "stars" ? (n === 1 ? "star" : "stars") : n === 1 ? "point" : "points"}`;
  const count = (n) => `${number(n)} ${n === 1 ? one : many}`;
  return {
    number, fixed, percent, stars,
    bounds: (low, high) => `${fixed(low)} – ${fixed(high)}`,
    skip: "Go to the list",
    heading: `Rate a few ${many}`,
    lead: "See at once what the model would give you, how sure it is, and why.",
    language: "Language", theme: "Colours", system: "Automatic", light: "Light", dark: "Dark",
    yours: "What do you think of these?",
    search: `Look for a ${one === "item" ? "title" : one}`,
    found: (n) => (n ? `${count(n)} found` : "Nothing found"),
    rating: (title) => `Your rating of “${title}”`,
    notRated: "Not rated",
    others: `Show me other ${many}`,
    allRated: (n) => `Your ratings (${n})`,
    allHidden: (n) => `Not for you (${n})`,
    change: "Change", changeOf: (title) => `Change the rating of “${title}”`,
    back: "Show again", backOf: (title) => `Show “${title}” again`,
    export: "Save my ratings", import: "Open saved ratings",
    private: "Your ratings stay in this browser. The server computes with them and keeps none.",
    list: "The model suggests",
    diversity: "Variety", popularity: "Rated at least", times: (n) => (n === 1 ? "once" : `${number(n)} times`), never: "any number of times",
    model: "Model", beside: "Compare with", none: "No other model", undo: "Undo",
    legend: (share) => `The dot is the prediction; the bar is where ${percent(share)} of such ratings should fall. What is surely good comes first.`,
    predicted: (score, low, high) =>
      low === undefined ? stars(score) : `${stars(score)}, probably from ${number(low)} to ${number(high)}`,
    because: (title, rating) => `Because you gave “${title}” ${stars(rating)}`,
    liked: "Well liked by others",
    why: "Why?", whyOf: (title) => `Why “${title}”?`,
    similar: "Similar", similarOf: (title) => `Similar to “${title}”`,
    rate: kind === "films" ? "Seen it" : "I know it", rateOf: (title) => `Rate “${title}”`,
    drop: "Not this one", dropOf: (title) => `Not this one: “${title}”`,
    parts: "How the prediction adds up",
    mean: "Starting point", userBias: "How high you rate", itemBias: `How well others like this ${one}`,
    interaction: "Your taste", clipped: "Brought onto the scale", prediction: "Prediction",
    reasons: "What each of your ratings adds to it", rest: "Not from any rating", rated: (title, n) => `“${title}”: ${stars(n)}`,
    otherRatings: "Your other ratings",
    noReasons: "You have not rated anything yet, so this is what the model expects of anybody.",
    noSimilar: "This model has nothing to compare by.",
    updated: (n, title, score) => (n ? `${count(n)}. First: “${title}”, ${stars(score)}.` : `No ${many} are left: lower a slider.`),
    hid: (title) => `“${title}” will not be suggested.`,
    undone: "Undone.",
    offered: (title) => `“${title}” is there to rate.`,
    opened: (n, left) => `${n} ${n === 1 ? "rating" : "ratings"} opened.${left ? ` Left out: ${left} lines that this model does not know or whose rating is not on its scale.` : ""}`,
    notRatings: "This file has no ratings: expected a table with the columns item and rating.",
    failed: (why) => `The server did not answer as expected: ${why}`,
    source: (facts) => `${facts.data ? `${facts.data}: ` : ""}${number(facts.ratings)} ratings by ${number(facts.users)} people of ${count(facts.items)}.`,
    licence: (text) => `Licence of the data: ${text}.`,
    citation: (text) => `Cite as: ${text}`,
  };
}

function spanish(kind, unit) {
  const [one, many, feminine] = SPANISH[kind];
  const a = feminine ? "a" : "o";
  const fixed = (value, digits = 1) => value.toLocaleString("es", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const percent = (share) => share.toLocaleString("es", { style: "percent" });
  const number = (value, digits = 1) => value.toLocaleString("es", { maximumFractionDigits: digits, useGrouping: "always" });
  const stars = (n) => `${number(n)}\u00a0${unit === "stars" ? (n === 1 ? "estrella" : "estrellas") : n === 1 ? "punto" : "puntos"}`;
  const count = (n) => `${number(n)} ${n === 1 ? one : many}`;
  return {
    number, fixed, percent, stars,
    bounds: (low, high) => `${fixed(low)} – ${fixed(high)}`,
    skip: "Ir a la lista",
    heading: `Valora algun${a}s ${many}`,
    lead: "Verás al momento qué te propone el modelo, con cuánta seguridad y por qué.",
    language: "Idioma", theme: "Colores", system: "Automáticos", light: "Claros", dark: "Oscuros",
    yours: `¿Qué te parecen est${a}s?`,
    search: `Busca un${feminine ? "a" : ""} ${one}`,
    found: (n) => (n ? `${count(n)} encontrad${a}${n === 1 ? "" : "s"}` : "No se ha encontrado nada"),
    rating: (title) => `Tu valoración de «${title}»`,
    notRated: "Sin valorar",
    others: `Enséñame otr${a}s ${many}`,
    allRated: (n) => `Tus valoraciones (${n})`,
    allHidden: (n) => `No son para ti (${n})`,
    change: "Cambiar", changeOf: (title) => `Cambiar la valoración de «${title}»`,
    back: "Volver a mostrar", backOf: (title) => `Volver a mostrar «${title}»`,
    export: "Guardar mis valoraciones", import: "Abrir valoraciones guardadas",
    private: "Tus valoraciones no salen de este navegador más que para el cálculo; el servidor no las guarda.",
    list: "El modelo te propone",
    diversity: "Variedad", popularity: "Con al menos", times: (n) => (n === 1 ? "1 valoración" : `${number(n)} valoraciones`), never: "cualquier número",
    model: "Modelo", beside: "Comparar con", none: "Ningún otro", undo: "Deshacer",
    legend: (share) => `El punto es la predicción; en la barra debería caer el ${percent(share)} de las valoraciones así. Primero aparece lo que es bueno con más seguridad.`,
    predicted: (score, low, high) =>
      low === undefined ? stars(score) : `${stars(score)}, probablemente entre ${number(low)} y ${number(high)}`,
    because: (title, rating) => `Porque diste ${stars(rating)} a «${title}»`,
    liked: "Gusta a los demás",
    why: "¿Por qué?", whyOf: (title) => `¿Por qué «${title}»?`,
    similar: `Parecid${a}s`, similarOf: (title) => `Parecid${a}s a «${title}»`,
    rate: kind === "films" ? "Ya la he visto" : "Ya lo conozco", rateOf: (title) => `Valorar «${title}»`,
    drop: `Est${feminine ? "a" : "e"} no`, dropOf: (title) => `Est${feminine ? "a" : "e"} no: «${title}»`,
    parts: "De qué se compone la predicción",
    mean: "Punto de partida", userBias: "Lo alto que sueles valorar",
    itemBias: `Lo que gusta est${feminine ? "a" : "e"} ${one} a los demás`,
    interaction: "Tus gustos", clipped: "Ajuste a la escala", prediction: "Predicción",
    reasons: "Lo que aporta cada una de tus valoraciones", rest: "No viene de ninguna valoración", rated: (title, n) => `«${title}»: ${stars(n)}`,
    otherRatings: "Tus demás valoraciones",
    noReasons: "Aún no has valorado nada: esto es lo que el modelo espera de cualquiera.",
    noSimilar: "Este modelo no tiene con qué comparar.",
    updated: (n, title, score) => (n ? `${count(n)}. Primer${a}: «${title}», ${stars(score)}.` : `No queda ningun${feminine ? "a" : ""} ${one}: baja algún control.`),
    hid: (title) => `«${title}» no se volverá a proponer.`,
    undone: "Deshecho.",
    offered: (title) => `Ya puedes valorar «${title}».`,
    opened: (n, left) => `${n === 1 ? "Se ha abierto 1 valoración" : `Se han abierto ${n} valoraciones`}.${left ? ` Se han omitido ${left} líneas que este modelo no conoce o cuya valoración no está en su escala.` : ""}`,
    notRatings: "Este archivo no tiene valoraciones: debería ser una tabla con las columnas item y rating.",
    failed: (why) => `El servidor no ha respondido como debía: ${why}`,
    source: (facts) => `${facts.data ? `${facts.data}: ` : ""}${number(facts.ratings)} valoraciones de ${count(facts.items)} por ${number(facts.users)} personas.`,
    licence: (text) => `Licencia de los datos: ${text}.`,
    citation: (text) => `Cita: ${text}`,
  };
}

export const textsOf = (language, kind, unit) => (language === "es" ? spanish : english)(kind, unit);
