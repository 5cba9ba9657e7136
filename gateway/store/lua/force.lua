---- An operator holds a breaker, or gives it back: see Circuit.forced in gateway/core/guards/breaker.py -----------
--
-- KEYS[1]  the breaker's partition
-- KEYS[2]  the list of breakers that are not closed, or held: see circuit.lua; or nothing, as for a report
--
-- ARGV[1]  op      force
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[3]  state   0 closed, 1 open, 2 give it back
-- ARGV[4]  for_us  how long
--
-- Reply, a flat list of integers, if the state is new, in the same order as for a report:
--   change.report   1
--   change.state    0 closed, 1 open
--   change.reason   7 forced
--   change.calls    0
--   change.failed   0
--   change.slow     0
--   change.wait_us  until the first probe

local MAX_FORCED, FORCED = 30 * 24 * 3600 * 1000000, 7

local unknown, load, save, list = circuits()
local key, state = KEYS[1], tonumber(ARGV[3])
local c = load(redis.call('MGET', key)[1])

if state > OPEN then
  if c.reason == FORCED and c.ends > now then
    c.ends = now
    save(key, c)
  end
  return {}
end

local after = unknown(c.generation + 1)
local lasts = math.min(tonumber(ARGV[4]), MAX_FORCED)
after.state, after.ends, after.reason = state, now + lasts, FORCED
after.since = state == c.state and c.since or now
save(key, after)
list(KEYS[2], key, after.ends)
return state == c.state and {} or {1, state, FORCED, 0, 0, 0, state == OPEN and lasts or 0}
