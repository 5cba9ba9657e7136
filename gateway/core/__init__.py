"""Every rule of the gateway, pure: (state, input, now) in, (new state, answer) out.

No I/O, no clock, no randomness, no logging; times are integers in microseconds. What is decided about a call is in
`decision`, with the vocabulary of `limits` and `guards`; `policy` is what calls are judged by, and `problems` what they
are told. The rest has rooms: `algorithms`, `guards`, `routing`, `http`, `access`, `connections`; `cache`, `sandbox` and
`webhooks`, which are off until somebody asks for them; `preview` and `watching` for operators.
"""
