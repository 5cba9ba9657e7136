---- Which workers are alive ------------------------------------------------------------------------------------------
--
-- Runs as one text: clock.lua, this.
--
-- KEYS[1]  sorted set: each worker, scored by when it was last heard of
-- KEYS[2]  sorted set: each worker, scored by when it came; so those that come later have later ranks
-- KEYS[3]  a number that stays the same as long as the server keeps its data
--
-- ARGV[1]  op        beat; look: answered, and nothing is noted of the worker; or leave: it does not count any more
-- ARGV[2]  now_us    0 = the server's clock; anything else is for tests
-- ARGV[3]  worker    its name, which nobody else has
-- ARGV[4]  lives_us  for how long a worker counts that is not heard of
-- ARGV[5]  sent_us   the server's clock as the worker believes it to be; 0 = it does not know
-- ARGV[6]  since_us  see reply.back
-- ARGV[7]  data      the number to take where there is none; below 2^53
--
-- Reply, a flat list of integers:
--   reply.now_us   the clock
--   reply.workers  how many are alive
--   reply.rank     of this worker among them, from 0
--   reply.back     how many of them were heard of after since_us
--   reply.data     another one than before: the server has lost its data
--
-- A beat that lay in a frozen server's socket says nothing about now: it is answered like a look.

local STALE_US = 250000
local DATA_MS = 7 * 24 * 3600 * 1000

local heard, came, worker = KEYS[1], KEYS[2], ARGV[3]
local lives, sent = tonumber(ARGV[4]), tonumber(ARGV[5])

local function score(us)
  return string.format('%.0f', us)
end

if ARGV[1] == 'leave' then
  redis.call('ZREM', heard, worker)
  redis.call('ZREM', came, worker)
elseif ARGV[1] == 'beat' and (sent == 0 or now - sent < STALE_US) then
  redis.call('ZADD', heard, score(now), worker)
  redis.call('ZADD', came, 'NX', score(now), worker)
  redis.call('PEXPIRE', heard, ttl_ms(lives))
  redis.call('PEXPIRE', came, ttl_ms(lives))
end

for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', heard, '(' .. score(now), '+inf')) do
  redis.call('ZADD', heard, score(now), ahead) -- the clock was set back: who has died would live for as long
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', heard, '-inf', score(now - lives))) do
  redis.call('ZREM', heard, gone)
  redis.call('ZREM', came, gone)
end
redis.call('SET', KEYS[3], ARGV[7], 'NX')
redis.call('PEXPIRE', KEYS[3], DATA_MS)
local back = redis.call('ZCOUNT', heard, '(' .. score(tonumber(ARGV[6])), '+inf')
local rank = redis.call('ZRANK', came, worker) or 0
return {now, redis.call('ZCARD', heard), rank, back, tonumber(redis.call('GET', KEYS[3]))}
