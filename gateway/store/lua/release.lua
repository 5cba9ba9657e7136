---- Gives back the slots that a call took from concurrency limits --------------------------------------------------
--
-- KEYS[i]  partition of the i-th concurrency limit
--
-- ARGV[1]  op      release
-- ARGV[2]  lease   as given to admit
-- ARGV[2 + i]  cost of the i-th limit: how many slots it gave
--
-- Reply, a flat list of integers:
--   reply.released  slots given back; those that had come back by themselves are not counted

local released = 0
for i, key in ipairs(KEYS) do
  for number = 1, tonumber(ARGV[2 + i]) do
    local slot = number == 1 and ARGV[2] or ARGV[2] .. '#' .. number
    local gone = redis.pcall('ZREM', key, slot) -- an error: the key has another type
    if type(gone) ~= 'number' then gone = redis.pcall('ZREM', key .. '!', slot) end -- see grant.lua
    if type(gone) == 'number' then released = released + gone end
  end
end
return {released}
