// What does the published `ollama` client for JavaScript read? Usage: node ollama.js URL; prints one JSON object.
import { Ollama } from "ollama";

const [, , host] = process.argv;
const ollama = new Ollama({ host });
const model = "tiny";
const options = { temperature: 0, seed: 1 };
const messages = [{ role: "user", content: "Who are you?" }];
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Tell the weather",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

async function parts(stream) {
  const found = [];
  for await (const part of await stream) found.push(part);
  return found;
}

async function refusal(asked) {
  try {
    const answer = await asked;
    if (answer[Symbol.asyncIterator]) await parts(answer);
    return null;
  } catch (error) {
    return { name: error.constructor.name, message: error.message, status: error.status_code ?? null };
  }
}

async function toolRound(stream) {
  const turns = [{ role: "user", content: "CALL_TOOL How is the weather?" }];
  const asked = ollama.chat({ model, messages: turns, tools, options, stream });
  const messagesWithCalls = (stream ? await parts(asked) : [await asked])
    .map((part) => part.message)
    .filter((message) => message.tool_calls);
  const [message] = messagesWithCalls;
  const last = await ollama.chat({
    model,
    tools,
    options,
    messages: [...turns, message, { role: "tool", content: "sunny", tool_name: "get_weather" }],
  });
  return { count: messagesWithCalls.length, calls: message.tool_calls, last: last.message };
}

// the client's own abort() closes the socket in the middle of an answer that would never end
async function abort() {
  const endless = await ollama.chat({ model, messages: [{ role: "user", content: "TALK_LONG" }], stream: true });
  try {
    for await (const part of endless) if (part.message.content) endless.abort();
    return null;
  } catch (error) {
    return error.name;
  }
}

const person = {
  type: "object",
  properties: { name: { type: "string", maxLength: 8 }, age: { type: "integer" } },
  required: ["name", "age"],
};
const thinking = [{ role: "user", content: "THINK_FIRST Who are you?" }];
const found = {
  version: await ollama.version(),
  list: await ollama.list(),
  show: await ollama.show({ model }),
  ps: await ollama.ps(),
  chat: await ollama.chat({ model, messages, options }),
  chatStream: await parts(ollama.chat({ model, messages, options, stream: true })),
  thinking: await ollama.chat({ model, messages: thinking, options, think: true }),
  thinkingStream: await parts(ollama.chat({ model, messages: thinking, options, think: true, stream: true })),
  tools: await toolRound(false),
  toolsStream: await toolRound(true),
  format: await ollama.chat({ model, messages, format: person, options: { ...options, num_predict: 200 } }),
  generate: await ollama.generate({ model, prompt: "Who are you?", options }),
  generateStream: await parts(ollama.generate({ model, prompt: "Who are you?", options, stream: true })),
  pull: await ollama.pull({ model }),
  pullStream: await parts(ollama.pull({ model, stream: true })),
  absent: await refusal(ollama.chat({ model: "absent", messages })),
  absentStream: await refusal(ollama.chat({ model: "absent", messages, stream: true })),
  absentPull: await refusal(ollama.pull({ model: "absent", stream: true })),
  abort: await abort(),
};
console.log(JSON.stringify(found));
