---- Another number for one caller, for a while: see gateway/core/grant.py ------------------------------------------
--
-- While there is a grant, the partition's key holds it: format, quota, ends; and the reason as text. The counter is
-- beside it, under the same name and `!`: `!` is in no partition's name, and a Redis Cluster puts both in one slot. The
-- first charge after the end puts it back. The key of the grant lives at least as long as the counter, so that nothing
-- that was counted is ever lost.
--
-- KEYS[1]  the partition
--
-- ARGV[1]  op      grant; reset: forget what was counted, a grant stays
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[3]  quota   0 = take the grant back
-- ARGV[4]  for_us  how long
-- ARGV[5]  reason  for people
--
-- Reply, a flat list of integers:
--   reply.existed  grant: 1 if there was a grant in force; reset: 1 if anything was counted

local GRANT, GRANTED = '>BI4I7', 0x71

local key, beside, quota, lasts = KEYS[1], KEYS[1] .. '!', tonumber(ARGV[3]), tonumber(ARGV[4])
local packed = redis.pcall('GETRANGE', key, '0', '11') -- an error: it holds a sorted set
local ends = 0
if type(packed) == 'string' and string.byte(packed) == GRANTED then
  local _
  _, _, ends = struct.unpack(GRANT, packed)
end

if ARGV[1] == 'reset' then return {redis.call('DEL', ends > 0 and beside or key)} end

if ends == 0 then
  redis.call('DEL', beside) -- nobody's
elseif quota == 0 then
  redis.call('DEL', key)
end
local from, to = key, beside
if quota == 0 then from, to = beside, key end
if (ends == 0) == (quota > 0) and redis.call('PTTL', from) ~= -2 then redis.call('RENAME', from, to) end
if quota > 0 then
  local lives = math.max(ttl_ms(lasts), redis.call('PTTL', beside))
  redis.call('SET', key, struct.pack(GRANT, GRANTED, quota, now + lasts) .. ARGV[5], 'PX', lives)
end
return {ends > now and 1 or 0}
