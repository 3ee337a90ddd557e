// Reads an annotation page from standard input as a IIIF viewer does, with the Vault of @iiif/helpers, and prints what
// it found: [{ id, motivation, target, hidden, label, uri, probability }].

import { readFileSync } from "node:fs";
import { Vault } from "@iiif/helpers/vault";

const given = JSON.parse(readFileSync(0, "utf8"));
const vault = new Vault();
const page = vault.loadSync(given.id, given);

const found = vault.get(page.items).map((annotation) => {
  const bodies = annotation.body.map((body) => (body.source ? { uri: body.source.id } : { label: vault.get(body).value }));
  return {
    id: annotation.id,
    motivation: annotation.motivation,
    target: annotation.target.source.id,
    hidden: page.behavior.includes("hidden"),
    label: bodies.find((body) => "label" in body).label,
    uri: bodies.find((body) => "uri" in body)?.uri ?? null,
    probability: annotation["gaze:probability"],
  };
});
process.stdout.write(JSON.stringify(found));
