---- Lets the slots that a call took from concurrency limits last longer --------------------------------------------
--
-- Runs as one text: clock.lua, this.
--
-- KEYS[i]  partition of the i-th concurrency limit
--
-- ARGV[1]  op      renew
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[3]  lease   as given to admit
-- ARGV[2 + 2 * i]  cost of the i-th limit: how many slots it gave
-- ARGV[3 + 2 * i]  window_us of the i-th limit: how long from now the slots last
--
-- Reply, a flat list of integers:
--   reply.renewed  slots that last longer now; a slot that had come back by itself stays back
--
-- Beside them there may be slots that last longer: those of calls that came when the limit had longer leases already.

local renewed = 0
for i, key in ipairs(KEYS) do
  local window, grant = tonumber(ARGV[3 + 2 * i]), nil
  for number = 1, tonumber(ARGV[2 + 2 * i]) do
    local slot = number == 1 and ARGV[3] or ARGV[3] .. '#' .. number
    local ends = redis.pcall('ZSCORE', key, slot)
    if type(ends) == 'table' and not grant then -- it holds a string: see grant.lua
      grant, key = key, key .. '!'
      ends = redis.pcall('ZSCORE', key, slot)
    end
    if type(ends) == 'string' and tonumber(ends) > now then
      redis.call('ZADD', key, now + window, slot)
      if redis.call('PTTL', key) < ttl_ms(window) then redis.call('PEXPIRE', key, ttl_ms(window)) end
      if grant and redis.call('PTTL', grant) < redis.call('PTTL', key) then
        redis.call('PEXPIRE', grant, redis.call('PTTL', key))
      end
      renewed = renewed + 1
    end
  end
end
return {renewed}
