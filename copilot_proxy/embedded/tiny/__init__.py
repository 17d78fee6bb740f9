"""A tiny llama-architecture model that behaves: set by hand, without training, the same bytes each time.

It is one transformer layer of 128 dimensions over a byte-level BPE vocabulary of 1339 tokens, 1.7 MB on disk.
Purely random weights are of little use under llama.cpp's grammars: they hardly ever end a tool call or a JSON
document. So a few numbers are set on top of random ones:

- Greedy decoding says one fixed sentence and stops; with temperature it wanders between a few sentences.
- Only ASCII is sampled, so no chunk ends inside a UTF-8 sequence. Every byte has a token, so any input is
  read.
- JSON strings, arrays and objects under a grammar close quickly.
- Three words in a prompt steer it, through the attention layer; the server knows nothing of them:

      CALL_TOOL     call a tool if tools are offered: one call for each CALL_TOOL in the conversation that no
                    call has answered yet, so after the tool's result comes text.
      THINK_FIRST   open with a <think> ... </think> block, unless the request turns thinking off.
      TALK_LONG     never end the turn: run until max_tokens, a full context, or a client that hangs up.

`writer` is the way in. The other modules need numpy and gguf, and are imported only where a file is made.
"""
