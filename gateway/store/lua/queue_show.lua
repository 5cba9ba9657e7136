---- How a queue stands ------------------------------------------------------------------------------------------------
--
-- Runs behind clock.lua. The keys are those of queue_take.lua. Workers that have gone are forgotten here; and a queue
-- that nobody looks at any more, because no gateway has its receiver in its settings, ends after a while.
--
-- KEYS[1]  the stream
-- KEYS[2...] what else of the queue is touched: a cluster wants to know before anything runs
--
-- ARGV[1]  op      show
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[3]  tries   how many of the last tries
-- ARGV[4]  dead    how many of the newest dead letters
--
-- Reply: an array
--   reply.waiting     letters that are not delivered
--   reply.trying      of these, being tried now
--   reply.due         of these, waiting for another try
--   reply.dead        letters that are given up
--   reply.resting_ms  that the receiver is left alone from now on
--   reply.failures    of the receiver in a row
--   reply.oldest_ms   age of the oldest that is not delivered, 0 = there is none
--   reply.tries       as JSON, the newest first
--   reply.letters     dead ones, the newest first: arrays of names and values
--   reply.kept        letters that were delivered and are kept

local GONE_MS, UNSEEN_MS = 3600 * 1000, 30 * 24 * 3600 * 1000

local queue, now_ms = KEYS[1], math.floor(now / 1000)
local rest = redis.call('HMGET', queue .. ':rest', 'failures', 'until_ms')
for _, part in ipairs({'', ':due', ':tries', ':first', ':rest', ':dead', ':log'}) do
  redis.call('PEXPIRE', queue .. part, UNSEEN_MS)
end
local trying, oldest = 0, 0
if redis.call('EXISTS', queue) == 1 then
  local pending = redis.pcall('XPENDING', queue, 'g')
  if not pending.err then
    trying = pending[1]
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', queue, 'g')) do
      local told = {}
      for i = 1, #consumer, 2 do told[consumer[i]] = consumer[i + 1] end
      if told.pending == 0 and told.idle > GONE_MS then redis.call('XGROUP', 'DELCONSUMER', queue, 'g', told.name) end
    end
  end
  local head = redis.call('XRANGE', queue, '-', '+', 'COUNT', 1)
  if head[1] then oldest = math.max(1, now_ms - tonumber(string.match(head[1][1], '^%d+'))) end
end
local tries, letters = {}, {}
if tonumber(ARGV[3]) > 0 then tries = redis.call('LRANGE', queue .. ':log', 0, tonumber(ARGV[3]) - 1) end
if tonumber(ARGV[4]) > 0 then
  for _, entry in ipairs(redis.call('XREVRANGE', queue .. ':dead', '+', '-', 'COUNT', ARGV[4])) do
    local values = {'entry', entry[1]}
    for i = 1, #entry[2], 2 do
      if entry[2][i] ~= 'body' then
        values[#values + 1] = entry[2][i]
        values[#values + 1] = entry[2][i + 1]
      end
    end
    letters[#letters + 1] = values
  end
end
return {redis.call('XLEN', queue), trying, redis.call('ZCARD', queue .. ':due'), redis.call('XLEN', queue .. ':dead'),
  math.max(0, tonumber(rest[2] or 0) - now_ms), tonumber(rest[1] or 0), oldest, tries, letters,
  redis.call('XLEN', queue .. ':kept')}
