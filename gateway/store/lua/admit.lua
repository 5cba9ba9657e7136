---- The decision: see gateway/core/decision.py ---------------------------------------------------------------------
--
-- Decides every limit of one call together: all are charged, or none is. Integers only, in and out.
--
-- KEYS[i]  partition of the i-th limit; on a Redis Cluster all carry one hash tag.
--
-- ARGV[1]  op        admit, or peek: answer, but change nothing
-- ARGV[2]  now_us    0 = the server's clock; anything else is for tests
-- ARGV[3]  lease     names the slots that concurrency limits give to this call
-- ARGV[3 + i]  the rule of the i-th limit, packed big-endian; fields and their bytes:
--   rule.algorithm  1  1 rolling window, 2 token bucket, 3 fixed window, 4 concurrency
--   rule.enforced   1  1 refuses, 0 is only recorded (shadow)
--   rule.cost       4  units, at most quota
--   rule.quota      4  units
--   rule.window_us  6  window or lease time
--   rule.a          6  rolling window: quantum_us; token bucket: rate
--   rule.b          6  token bucket: per_us
--
-- Reply, a flat list of integers:
--   reply.admitted  1: every enforced limit had room, and (unless peeking) every limit that had room was charged
--   reply.now_us    the clock at the decision
-- then for each limit, after its charge if it was charged, else the uncharged present:
--   verdict.admitted   1: the limit had room for the cost
--   verdict.remaining  units
--   verdict.reset_us   until every unit is back
--   verdict.more_us    until the next unit is back
--   verdict.retry_us   until this cost would be admitted
--
-- A refused call writes nothing, except once after the clock stepped back: so that its wait does not begin anew with
-- every call. Every key ends by itself when it has nothing to say any more (a rolling window's at most two windows
-- after the last charge), SLACK_MS later at most.

local RULE = '>BBI4I4I6I6I6'
local ALGORITHMS = {rolling_window, token_bucket, fixed_window, concurrency}

local waits, finish, admitted = {}, {}, true
for i = 1, #KEYS do
  local code, enforced, cost, quota, window, a, b = struct.unpack(RULE, ARGV[3 + i])
  waits[i], finish[i] = ALGORITHMS[code](KEYS[i], cost, quota, window, a, b)
  if waits[i] > 0 and enforced == 1 then admitted = false end
end

local commit = ARGV[1] == 'admit'
local reply = {admitted and 1 or 0, now}
for i = 1, #KEYS do
  local at, room = 5 * i - 2, waits[i] == 0
  reply[at] = room and 1 or 0
  reply[at + 1], reply[at + 2], reply[at + 3] = finish[i](commit and admitted and room, commit)
  reply[at + 4] = waits[i]
end
return reply
