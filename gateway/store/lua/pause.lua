---- What an upstream asks of everybody: see gateway/core/guards/pause.py ---------------------------------------------
--
-- A string: format, 1, until when to leave it alone. If the upstream said how many calls it lets through, behind that
-- how many are left, and until when that holds.
--
-- KEYS[1]  the pause's partition
--
-- ARGV[1]  op          pause
-- ARGV[2]  now_us      0 = the server's clock; anything else is for tests
-- ARGV[3]  for_us      how long; 0 = nothing is asked any more
-- ARGV[4]  longest_us  nothing lasts longer
-- ARGV[5]  left        calls that it lets through within that time; 0 = none: a pause
--
-- Reply, a flat list of integers:
--   reply.began    1: there was no pause before, and now there is
--   reply.wait_us  for how long anything is remembered; 0 = there is nothing

local MOST_LEFT = 2 ^ 32 - 1

local key, lasts, longest, left = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if lasts <= 0 then
  redis.call('DEL', key)
  return {0, 0}
end

local _
local ends, known, renews = 0, 0, 0
local packed = redis.call('MGET', key)[1]
if packed and string.byte(packed) == 0x61 then
  if #packed == 9 then _, _, ends = struct.unpack('>BBI7', packed) end
  if #packed == 20 then _, _, ends, known, renews = struct.unpack('>BBI7I4I7', packed) end
end
ends, renews = math.min(ends, now + longest), math.min(renews, now + longest)
if renews <= now then known, renews = 0, 0 end

local until_when, began = now + math.min(lasts, longest), false
if left == 0 then
  began, ends = ends <= now, math.max(ends, until_when)
elseif renews > 0 then
  known = math.min(known, left)
else
  known, renews = math.min(left, MOST_LEFT), until_when
end

local lives = math.max(ends, renews) - now
local counted = renews > 0 and struct.pack('>I4I7', known, renews) or ''
redis.call('SET', key, struct.pack('>BBI7', 0x61, 1, ends) .. counted, 'PX', ttl_ms(lives))
return {began and 1 or 0, lives}
