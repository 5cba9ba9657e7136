---- Letters that are given up, or were delivered and kept, are tried again ----------------------------------------------
--
-- Runs behind clock.lua. The keys are those of queue_take.lua. With dead letters the receiver is believed to be well
-- again: it rests no longer, and who asks for all of them has what waits for another try tried now as well. Bounded
-- work: so many letters are looked at and so many brought forward, and the caller goes on from there.
--
-- KEYS[1]  the stream
-- KEYS[2...] what else of the queue is touched: a cluster wants to know before anything runs
--
-- ARGV[1]  op      redrive (dead letters) or replay (delivered ones)
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[3]  id      only the letters with this id; "" = all
-- ARGV[4]  from    the first to be looked at, as XRANGE has it
-- ARGV[5]  to      the last, likewise; "" = the last that is there now, whatever comes meanwhile
-- ARGV[6]  most    letters that may wait in the queue
--
-- Reply:
--   reply.moved  how many
--   reply.left   how many are still there, whatever their id and time
--   reply.full   1 = it ended because no more may wait in the queue
--   reply.after  where to go on; "" = nowhere
--   reply.to     the last to be looked at

local BESIDE = {tries = true, why = true, died = true, done = true}
local PAGE, PAGES = 20, 25
local SOONER = 1000

local queue, id, moved = KEYS[1], ARGV[3], 0
local replayed = ARGV[1] == 'replay'
local source, from, to = queue .. (replayed and ':kept' or ':dead'), ARGV[4], ARGV[5]
if to == '' then
  local newest = redis.call('XREVRANGE', source, '+', '-', 'COUNT', 1)
  to = newest[1] and newest[1][1] or '0-0'
end
local at = string.format('%.0f', now)

local function put_back(values)
  local kept = {}
  for i = 1, #values, 2 do
    local name, value = values[i], values[i + 1]
    if name == 'at' then value = at end
    if name == 'marks' and replayed and not string.find(value, 'r', 1, true) then value = value .. 'r' end
    if not BESIDE[name] then
      kept[#kept + 1] = name
      kept[#kept + 1] = value
    end
  end
  redis.call('XADD', queue, '*', unpack(kept))
end

local function has_id(values)
  for i = 1, #values, 2 do
    if values[i] == 'id' then return values[i + 1] == id end
  end
  return false
end

local room, full = tonumber(ARGV[6]) - redis.call('XLEN', queue), 0
for _ = 1, PAGES do
  local page = redis.call('XRANGE', source, from, to, 'COUNT', PAGE)
  for _, entry in ipairs(page) do
    if id == '' or has_id(entry[2]) then
      if moved >= room then
        full = 1
        break
      end
      redis.call('XDEL', source, entry[1]) -- first: a full server allows what comes behind a write that frees
      put_back(entry[2])
      moved = moved + 1
    end
    from = '(' .. entry[1]
  end
  if full == 1 or #page < PAGE then
    from = ''
    break
  end
end
if not replayed and (moved > 0 or id == '') then redis.call('DEL', queue .. ':rest') end
if not replayed and id == '' then
  local due, now_ms = queue .. ':due', math.floor(now / 1000)
  local later = redis.call('ZRANGEBYSCORE', due, '(' .. string.format('%.0f', now_ms), '+inf', 'LIMIT', 0, SOONER)
  for _, entry in ipairs(later) do redis.call('ZADD', due, 'XX', now_ms, entry) end
  if from == '' and #later == SOONER then from = '(' .. to end -- behind the last letter: more waits, and no more is dead
end
return {moved, redis.call('XLEN', source), full, from, to}
