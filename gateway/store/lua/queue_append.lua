---- A letter comes into one or more queues, once ----------------------------------------------------------------------
--
-- Runs behind clock.lua. All keys have one hash tag. A queue is a stream and what has its name as a beginning: see
-- queue_take.lua. The letter is remembered as seen only after it is in every queue, so nothing that fails half way can
-- make a repeated letter look as if it were there. A key of another type than it should have is somebody else's doing:
-- such a stream takes no letters, a place or a count begins anew.
--
-- KEYS[1]      there = the letter has been taken before
-- KEYS[2]      newest `place` so far of what must be in order
-- KEYS[3]      counts letters about the same thing
-- KEYS[3 + i]  stream of the i-th queue
--
-- ARGV[1]  op       append
-- ARGV[2]  now_us   0 = the server's clock; anything else is for tests
-- ARGV[3]  id       of the letter; with seen_ms 0 it may come again
-- ARGV[4]  seen_ms  how long to remember it
-- ARGV[5]  most     letters that may wait in a queue
-- ARGV[6]  all      1 = in every queue or in none; 0 = in those that have room
-- ARGV[7]  key      letters with the same key are delivered one after the other; "" = in no order
-- ARGV[8]  place    a whole number that rises from letter to letter, of any length; "" = not known, so nothing is marked
-- ARGV[9]  marks    what is known to be odd about it already
-- ARGV[10]  fields   for whoever delivers it
-- ARGV[11]  body     the letter
--
-- Reply, a flat list of integers:
--   reply.result    1 = taken, 0 = had been taken before, -1 = no room
--   reply.sequence  number of this letter among those about the same thing
--   then i for each queue that has no room, -i for each that is none

local SEQUENCE_MS = 30 * 24 * 3600 * 1000

if redis.call('EXISTS', KEYS[1]) == 1 then return {0, 0} end

local most, room, full = tonumber(ARGV[5]), {}, {}
local function is_other(reply)
  local why = type(reply) == 'table' and reply.err or ''
  return string.find(why, 'WRONGTYPE', 1, true) or string.find(why, 'not an integer', 1, true)
end
for i = 4, #KEYS do
  local length = redis.pcall('XLEN', KEYS[i])
  if is_other(length) then
    full[#full + 1] = 3 - i
  elseif type(length) == 'table' then
    return length
  elseif length < most then
    room[#room + 1] = KEYS[i]
  else
    full[#full + 1] = i - 3
  end
end
if #room == 0 or (#full > 0 and ARGV[6] == '1') then return {-1, 0, unpack(full)} end

local marks, place, seen_ms = ARGV[9], ARGV[8], tonumber(ARGV[4])
if place ~= '' then
  local newest = redis.pcall('GET', KEYS[2])
  newest = type(newest) == 'string' and string.match(newest, '^%d+$') or ''
  if #place < #newest or (#place == #newest and place < newest) then -- as digits: floats end at 2^53
    marks = marks .. 'o'
  else
    redis.call('SET', KEYS[2], place, 'PX', math.max(seen_ms, 1))
  end
end
local sequence = redis.pcall('INCR', KEYS[3])
if is_other(sequence) then
  redis.call('SET', KEYS[3], '1')
  sequence = 1
elseif type(sequence) == 'table' then
  return sequence
end
redis.call('PEXPIRE', KEYS[3], SEQUENCE_MS)
for _, stream in ipairs(room) do
  redis.call('XADD', stream, '*', 'id', ARGV[3], 'at', string.format('%.0f', now), 'key', ARGV[7], 'n', sequence,
    'marks', marks, 'fields', ARGV[10], 'body', ARGV[11])
  if redis.call('XLEN', stream) == 1 then redis.pcall('XGROUP', 'CREATE', stream, 'g', '0') end -- may be there
end
if seen_ms > 0 then redis.call('SET', KEYS[1], '1', 'PX', seen_ms) end
return {1, sequence, unpack(full)}
