---- Letters to be delivered now ---------------------------------------------------------------------------------------
--
-- Runs behind clock.lua. A queue named q is:
--   q          stream of all letters that are not delivered; its group `g` has as pending what is being tried now
--   q:due      sorted set: letters that wait for another try, by when
--   q:tries    hash: letter to how often it was tried
--   q:first    hash: key to the letter that is next of those with this key
--   q:lane:k   list: letters with the key k behind that one
--   q:rest     hash: failures in a row of the receiver, until when it is left alone, and which letter probes it
--   q:dead     stream of letters that are given up
--   q:kept     stream of letters that are delivered, where these are kept for a while
--   q:log      list of the last tries, as JSON
-- A letter that a worker took and did not settle is taken by another one after lease_ms. All of it ends by itself when
-- nobody has looked after it for long: see queue_show.lua.
--
-- KEYS[1]  the stream
-- KEYS[2...] what else of the queue is touched: a cluster wants to know before anything runs
--
-- ARGV[1]  op           take
-- ARGV[2]  now_us       0 = the server's clock; anything else is for tests
-- ARGV[3]  worker       who takes
-- ARGV[4]  count        how many at most
-- ARGV[5]  concurrency  how many may be tried at once, by everybody together
-- ARGV[6]  lease_ms     longer than a try may take
-- ARGV[7]  patience     failures in a row after which the receiver is tried with one letter at a time
--
-- Reply: wait_ms, then the letters. wait_ms: until there may be more, -1 = not known.
-- A letter is an array: entry, tries, age_us, id, key, sequence, marks, fields, body

local queue, worker, lease = KEYS[1], ARGV[3], tonumber(ARGV[6])
local due, tries, first, rest = queue .. ':due', queue .. ':tries', queue .. ':first', queue .. ':rest'
local now_ms = math.floor(now / 1000)
local reply = {-1}

local LANE_MS, LONGEST_REST_MS = 30 * 24 * 3600 * 1000, 300 * 1000

-- Hand out all letters from the first one on: somebody has removed the group, or a part of the queue. They keep their
-- number of tries. Lanes may name a letter twice from now on; queue_settle.lua passes over those that are delivered.
local function begin_anew()
  redis.call('DEL', first, due)
  redis.call('XGROUP', 'SETID', queue, 'g', '0')
end

if redis.call('EXISTS', queue) == 0 then return reply end
local pending = redis.pcall('XPENDING', queue, 'g')
if pending.err then
  redis.call('XGROUP', 'CREATE', queue, 'g', '0')
  begin_anew()
  pending = {0}
end

local room = math.min(tonumber(ARGV[4]), tonumber(ARGV[5]) - pending[1])
local resting = redis.call('HMGET', rest, 'failures', 'until_ms')
local probing = tonumber(resting[1] or 0) >= tonumber(ARGV[7])
if probing then
  local wait = tonumber(resting[2]) - now_ms
  if wait > 0 and wait <= math.max(lease, LONGEST_REST_MS) then return {wait} end -- else the clock was set back
  room = math.min(room, 1 - pending[1])
end

local function hand_out(entry)
  local values = {at = now, id = '', key = '', n = '0', marks = '', fields = '{}', body = ''} -- of what is not ours
  for i = 1, #entry[2], 2 do values[entry[2][i]] = entry[2][i + 1] end
  if values.key ~= '' then
    local head = redis.call('HGET', first, values.key)
    if head and head ~= entry[1] then
      redis.call('RPUSH', queue .. ':lane:' .. values.key, entry[1])
      redis.call('PEXPIRE', queue .. ':lane:' .. values.key, LANE_MS)
      redis.call('XACK', queue, 'g', entry[1])
      return false
    end
    redis.call('HSET', first, values.key, entry[1])
  end
  local at = tonumber(values.at)
  if not at or at < 0 or not (at < 2 ^ 53) then at = now end
  local age = string.format('%.0f', now - at)
  reply[#reply + 1] = {entry[1], redis.call('HINCRBY', tries, entry[1], 1), age, values.id, values.key, values.n,
    values.marks, values.fields, values.body}
  return true
end

-- Those whose worker has gone. They count as being tried already, so they need no room.
local most = math.max(1, tonumber(ARGV[4]))
if pending[1] > 0 then
  local claimed = redis.call('XAUTOCLAIM', queue, 'g', worker, lease, '0-0', 'COUNT', probing and 1 or most)
  for _, entry in ipairs(claimed[2]) do
    if entry and entry[2] then hand_out(entry) end
  end
end

-- A letter that came later than now: the clock was set back, and what was to wait for seconds would wait for as long.
local function came_later(id)
  local entry = redis.call('XRANGE', queue, id, id)[1]
  for i = 1, entry and #entry[2] or 0, 2 do
    if entry[2][i] == 'at' then return (tonumber(entry[2][i + 1]) or 0) > now end
  end
end

if room > 0 then
  local last = redis.call('ZRANGE', due, -1, -1, 'WITHSCORES')
  if last[2] and tonumber(last[2]) > now_ms and came_later(last[1]) then
    for _, id in ipairs(redis.call('ZRANGE', due, -room, -1)) do
      if came_later(id) then redis.call('ZADD', due, now_ms, id) end
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now_ms, 'LIMIT', 0, room)) do
    redis.call('ZREM', due, id)
    local claimed = redis.call('XCLAIM', queue, 'g', worker, 0, id, 'FORCE')
    if claimed[1] and claimed[1][2] and hand_out(claimed[1]) then room = room - 1 end
  end
end

local all_read = false
for _ = 1, 8 do -- letters that must wait for others with their key take no room
  if room <= 0 then break end
  local read = redis.call('XREADGROUP', 'GROUP', 'g', worker, 'COUNT', room, 'STREAMS', queue, '>')
  all_read = not read
  if all_read then break end
  for _, entry in ipairs(read[1][2]) do
    if hand_out(entry) then room = room - 1 end
  end
end

if probing and #reply > 1 then redis.call('HSET', rest, 'until_ms', now_ms + lease, 'probe', reply[2][1]) end
local next_due = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if next_due[2] then
  if room > 0 then reply[1] = math.max(0, tonumber(next_due[2]) - now_ms) end -- else it waits for those being tried
elseif all_read and #reply == 1 and pending[1] == 0 and redis.call('XLEN', queue) > 0 then
  begin_anew() -- letters that nobody tries and none will come to
  reply[1] = 0
end
return reply
