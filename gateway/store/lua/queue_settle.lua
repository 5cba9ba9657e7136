---- A letter was tried: what becomes of it ----------------------------------------------------------------------------
--
-- Runs behind clock.lua. The keys are those of queue_take.lua.
--
-- KEYS[1]  the stream
--
-- ARGV[1]  op         done, retry or dead
-- ARGV[2]  now_us     0 = the server's clock; anything else is for tests
-- ARGV[3]  worker     who tried it. Somebody else may have taken it by now: then only `done` counts
-- ARGV[4]  entry      the letter
-- ARGV[5]  key        of the letter
-- ARGV[6]  wait_ms    retry: until it is tried again
-- ARGV[7]  blamed     1 = the receiver is at fault
-- ARGV[8]  patience   failures in a row after which the receiver is left alone for a while
-- ARGV[9]  rest_ms    how long at first; twice as long after each further failure
-- ARGV[10]  longest_ms how long at most
-- ARGV[11]  most_dead  dead letters that are kept, the newest
-- ARGV[12]  why        dead: for people
-- ARGV[13]  log        the try as JSON
--
-- Reply, a flat list of integers:
--   reply.settled   0 = it is somebody else's by now
--   reply.resting   ms that the receiver is left alone from now on
--   reply.failures  of the receiver in a row, before this try if it succeeded
--   reply.lost      dead letters that had to go

local LOGGED = 100

local queue, entry, key = KEYS[1], ARGV[4], ARGV[5]
local due, tries, first, rest = queue .. ':due', queue .. ':tries', queue .. ':first', queue .. ':rest'
local now_ms = math.floor(now / 1000)

redis.call('HDEL', tries, '') -- a full server allows what comes behind a write that frees
redis.call('LPUSH', queue .. ':log', ARGV[13])
redis.call('LTRIM', queue .. ':log', 0, LOGGED - 1)

local resting, failures = 0, tonumber(redis.call('HGET', rest, 'failures') or 0)
if ARGV[1] == 'done' then
  redis.call('DEL', rest)
elseif ARGV[7] == '1' then
  failures = redis.call('HINCRBY', rest, 'failures', 1)
  local over = failures - tonumber(ARGV[8])
  if over >= 0 then
    resting = math.min(tonumber(ARGV[9]) * 2 ^ math.min(over, 30), tonumber(ARGV[10]))
    redis.call('HSET', rest, 'until_ms', string.format('%.0f', now_ms + resting))
  end
elseif failures > 0 then
  redis.call('DEL', rest) -- it answers
end

if redis.call('EXISTS', queue) == 0 then return {0, resting, failures, 0} end
local mine = redis.pcall('XPENDING', queue, 'g', entry, entry, 1, ARGV[3])
if ARGV[1] ~= 'done' and (mine.err or #mine == 0) then return {0, resting, failures, 0} end

redis.pcall('XACK', queue, 'g', entry)
if ARGV[1] == 'retry' then
  redis.call('ZADD', due, string.format('%.0f', now_ms + tonumber(ARGV[6])), entry)
  return {1, resting, failures, 0}
end

local lost = 0
if ARGV[1] == 'dead' then
  local found = redis.call('XRANGE', queue, entry, entry)
  if found[1] then
    local values = found[1][2]
    for _, more in ipairs({'tries', redis.call('HGET', tries, entry) or '0', 'why', ARGV[12], 'died',
      string.format('%.0f', now)}) do
      values[#values + 1] = more
    end
    redis.call('XADD', queue .. ':dead', '*', unpack(values))
    lost = redis.call('XTRIM', queue .. ':dead', 'MAXLEN', ARGV[11])
  end
end

local existed = redis.call('XDEL', queue, entry)
redis.call('ZREM', due, entry)
redis.call('HDEL', tries, entry)
if key ~= '' and redis.call('HGET', first, key) == entry then
  local behind = redis.call('LPOP', queue .. ':lane:' .. key)
  if behind then
    redis.call('HSET', first, key, behind)
    redis.call('ZADD', due, now_ms, behind)
  else
    redis.call('HDEL', first, key)
  end
end
return {existed, resting, failures, lost}
