---- Dead letters are tried again, from the beginning ------------------------------------------------------------------
--
-- Runs behind clock.lua. The keys are those of queue_take.lua. The receiver is believed to be well again.
--
-- KEYS[1]  the stream
--
-- ARGV[1]  op      redrive
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[3]  count   how many at most, the oldest first
-- ARGV[4]  id      only the letters with this id; "" = all
--
-- Reply, a flat list of integers:
--   reply.moved  how many
--   reply.left   dead letters that are still there

local OURS = {tries = true, why = true, died = true}

local queue, count, moved = KEYS[1], tonumber(ARGV[3]), 0
local dead, after = queue .. ':dead', '-'
while moved < count do
  local page = redis.call('XRANGE', dead, after, '+', 'COUNT', 100)
  if #page == 0 then break end
  for _, entry in ipairs(page) do
    local values, id = {}, ''
    for i = 1, #entry[2], 2 do
      local name, value = entry[2][i], entry[2][i + 1]
      if name == 'id' then id = value end
      if name == 'at' then value = string.format('%.0f', now) end
      if not OURS[name] then
        values[#values + 1] = name
        values[#values + 1] = value
      end
    end
    if moved < count and (ARGV[4] == '' or ARGV[4] == id) then
      redis.call('XADD', queue, '*', unpack(values))
      redis.call('XDEL', dead, entry[1])
      moved = moved + 1
    end
    after = '(' .. entry[1]
  end
end
if moved > 0 then redis.call('DEL', queue .. ':rest') end
return {moved, redis.call('XLEN', dead)}
