---- An upstream asked for quiet: see gateway/core/pause.py ----------------------------------------------------------
--
-- A string: format, 1, until when.
--
-- KEYS[1]  the pause's partition
--
-- ARGV[1]  op          pause
-- ARGV[2]  now_us      0 = the server's clock; anything else is for tests
-- ARGV[3]  for_us      how long; 0 = the pause is over
-- ARGV[4]  longest_us  no pause lasts longer
--
-- Reply, a flat list of integers:
--   reply.began    1: there was no pause before
--   reply.wait_us  until it ends; 0 = there is none

local key, lasts, longest = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[4])
if lasts <= 0 then
  redis.call('DEL', key)
  return {0, 0}
end

local known, ends = 0, now + math.min(lasts, longest)
local packed = redis.call('MGET', key)[1]
if packed and #packed == 9 and string.byte(packed) == 0x61 then
  local _, _, until_then = struct.unpack('>BBI7', packed)
  known = math.min(until_then, now + longest)
end
ends = math.max(known, ends)
redis.call('SET', key, struct.pack('>BBI7', 0x61, 1, ends), 'PX', ttl_ms(ends - now))
return {known <= now and 1 or 0, ends - now}
