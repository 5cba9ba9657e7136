---- A letter was tried: what becomes of it ----------------------------------------------------------------------------
--
-- Runs behind clock.lua. The keys are those of queue_take.lua.
--
-- KEYS[1]  the stream
-- KEYS[2...] what else of the queue is touched: a cluster wants to know before anything runs
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
-- ARGV[14]  keep        done: letters that are kept after they were delivered, the newest; 0 = none
-- ARGV[15]  keep_ms     done: and for how long
--
-- Reply, a flat list of integers:
--   reply.settled   0 = it is somebody else's by now
--   reply.resting   ms that the receiver is left alone from now on; 0 = this try changed nothing about it
--   reply.failures  of the receiver in a row, before this try if it succeeded
--   reply.lost      dead letters that had to go

local LOGGED = 100
local DEAD_MS = 30 * 24 * 3600 * 1000

local queue, entry, key = KEYS[1], ARGV[4], ARGV[5]
local due, tries, first, rest = queue .. ':due', queue .. ':tries', queue .. ':first', queue .. ':rest'
local now_ms = math.floor(now / 1000)

redis.call('HDEL', tries, '') -- a full server allows what comes behind a write that frees
redis.call('LPUSH', queue .. ':log', ARGV[13])
redis.call('LTRIM', queue .. ':log', 0, LOGGED - 1)

local resting, known, patience = 0, redis.call('HMGET', rest, 'failures', 'probe'), tonumber(ARGV[8])
local failures = tonumber(known[1] or 0)
if ARGV[1] == 'done' then
  redis.call('DEL', rest)
elseif ARGV[7] == '1' then
  if failures < patience or known[2] == entry then -- tries that began before the rest say nothing new
    failures = redis.call('HINCRBY', rest, 'failures', 1)
    local over = failures - patience
    if over >= 0 then
      resting = math.min(tonumber(ARGV[9]) * 2 ^ math.min(over, 30), tonumber(ARGV[10]))
      redis.call('HSET', rest, 'until_ms', string.format('%.0f', now_ms + resting))
    end
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

-- Put the letter beside the queue as well, with more about it: how many had to go for it.
local function keep(beside, most, for_ms, ...)
  local found = redis.call('XRANGE', queue, entry, entry)
  if not found[1] then return 0 end
  local values = found[1][2]
  for _, more in ipairs({...}) do values[#values + 1] = more end
  redis.call('XADD', beside, '*', unpack(values))
  redis.call('PEXPIRE', beside, for_ms)
  return redis.call('XTRIM', beside, 'MAXLEN', most)
end

local lost, at = 0, string.format('%.0f', now)
if ARGV[1] == 'dead' then
  local count = redis.call('HGET', tries, entry) or '0'
  lost = keep(queue .. ':dead', ARGV[11], DEAD_MS, 'tries', count, 'why', ARGV[12], 'died', at)
elseif ARGV[14] ~= '0' then
  keep(queue .. ':kept', ARGV[14], ARGV[15], 'done', at)
  local time = redis.call('TIME') -- names of letters begin with it
  local oldest = math.floor(time[1] * 1000 + time[2] / 1000) - tonumber(ARGV[15])
  redis.call('XTRIM', queue .. ':kept', 'MINID', string.format('%.0f', oldest))
end

local existed = redis.call('XDEL', queue, entry)
redis.call('ZREM', due, entry)
redis.call('HDEL', tries, entry)
if key ~= '' and redis.call('HGET', first, key) == entry then
  local lane, behind = queue .. ':lane:' .. key, nil
  repeat
    behind = redis.call('LPOP', lane)
  until not behind or #redis.call('XRANGE', queue, behind, behind) == 1
  if behind then
    redis.call('HSET', first, key, behind)
    redis.call('ZADD', due, now_ms, behind)
  else
    redis.call('HDEL', first, key)
  end
end
return {existed, resting, failures, lost}
