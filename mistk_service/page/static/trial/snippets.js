// The same request for a terminal and for programs.

const TOKEN = "Bearer $TOKEN";

/**
 * @param url the address.
 * @param body the JSON of the request.
 * @param guarded whether clients have to log in.
 * @returns [language, code] pairs.
 */
export function snippets(url, body, guarded) {
  const json = JSON.stringify(body);
  const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const curl = [
    `curl -sS -N ${shell(url)}`,
    ...(guarded ? [`-H "Authorization: ${TOKEN}"`] : []),
    `-H 'Content-Type: application/json'`,
    `-d ${shell(json)}`,
  ].join(" \\\n  ");
  const python = [
    "import requests",
    "",
    "response = requests.post(",
    `    ${JSON.stringify(url)},`,
    ...(guarded ? [`    headers={"Authorization": "Bearer TOKEN"},`] : []),
    `    json=${pythonOf(body)},`,
    ")",
    "response.raise_for_status()",
    "print(response.text)",
  ].join("\n");
  const headers = guarded ? `"Content-Type": "application/json", "Authorization": "Bearer TOKEN"` : `"Content-Type": "application/json"`;
  const javascript = [
    `const response = await fetch(${JSON.stringify(url)}, {`,
    `  method: "POST",`,
    `  headers: { ${headers} },`,
    `  body: JSON.stringify(${json}),`,
    "});",
    "console.log(await response.text());",
  ].join("\n");
  return [["curl", curl], ["Python", python], ["JavaScript", javascript]];
}

/** A JSON value as Python writes it. */
function pythonOf(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(pythonOf).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${pythonOf(each)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}
