// How does the published `ollama` client for JavaScript embed? Usage: node embed.js URL; prints one JSON object.
import { Ollama } from "ollama";

const [, , host] = process.argv;
const ollama = new Ollama({ host });
const found = {
  embed: await ollama.embed({ model: "tiny", input: ["hello", "good bye"], truncate: true }),
  older: await ollama.embeddings({ model: "tiny", prompt: "hello" }),
};
console.log(JSON.stringify(found));
