---- Concurrency: see gateway/core/algorithms/concurrency.py --------------------------------------------------------
--
-- A sorted set: one member a slot (lease, lease#2, ...), scored by the time at which it comes back by itself.

local LOOK_AGAIN = 1000000

local function concurrency(key, cost, quota, window)
  local used, last, latest = 0, now, now + window
  local foreign, stepped = false, false

  local newest = redis.pcall('ZRANGE', key, -1, -1, 'WITHSCORES')
  if newest.err then
    foreign = true
    if not string.find(newest.err, 'WRONGTYPE', 1, true) then error(newest.err, 0) end
    read(key, '0', 1, 0)
  elseif newest[2] then
    last = tonumber(newest[2])
    if last > now then used = redis.call('ZCOUNT', key, string.format('(%.0f', now), '+inf') end
    if last > latest then last, stepped = latest, true end
  end

  -- No lease lasts longer than one taken now.
  local function settle()
    for _, slot in ipairs(redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', latest), '+inf')) do
      redis.call('ZADD', key, latest, slot)
    end
  end

  local function take()
    if foreign then redis.call('DEL', key) end
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    for number = 1, cost do
      local slot = number == 1 and ARGV[3] or ARGV[3] .. '#' .. number
      used = used + redis.call('ZADD', key, latest, slot)
    end
    redis.call('PEXPIRE', key, ttl_ms(window))
    last = latest
  end

  return used + cost > quota and LOOK_AGAIN or 0, {function(_, calls, commit)
    if commit and stepped then settle() end
    if calls then take() end -- it is one call that has the lease
    if used == 0 then return quota, 0, 0 end
    return math.max(0, quota - used), last - now, math.min(last - now, LOOK_AGAIN)
  end}
end
