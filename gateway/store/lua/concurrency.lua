---- Concurrency: see gateway/core/algorithms/concurrency.py --------------------------------------------------------
--
-- A sorted set: one member a slot (lease, lease#2, ...), scored by the time at which it comes back by itself.

local LOOK_AGAIN_US = 1000000

local function leases_look(key, cost, quota, window)
  local leases = {key = key, cost = cost, quota = quota, window = window, used = 0, last = now, retry = 0}
  local newest = pcall('ZRANGE', key, '-1', '-1', 'WITHSCORES')
  if newest.err then
    leases.foreign = foreign(newest)
  elseif newest[2] then
    local last, latest = tonumber(newest[2]), now + window
    if last > now then leases.used = call('ZCOUNT', key, format('(%.0f', now), '+inf') end
    leases.last, leases.stepped = min(last, latest), last > latest
    if leases.used + cost > quota then leases.retry = LOOK_AGAIN_US end
  end
  return leases
end

local function leases_present(leases)
  if leases.used == 0 then return leases.quota, 0, 0 end
  local reset = leases.last - now
  return max(0, leases.quota - leases.used), reset, min(reset, LOOK_AGAIN_US)
end

-- No lease lasts longer than one taken now.
local function leases_settle(leases)
  local latest = now + leases.window
  for _, slot in ipairs(call('ZRANGEBYSCORE', leases.key, format('(%.0f', latest), '+inf')) do
    call('ZADD', leases.key, latest, slot)
  end
end

local function leases_charge(leases)
  if leases.foreign then call('DEL', leases.key) end
  if leases.stepped then leases_settle(leases) end
  call('ZREMRANGEBYSCORE', leases.key, '-inf', format('%.0f', now))
  leases.last = now + leases.window
  for number = 1, leases.cost do
    local slot = number == 1 and lease or lease .. '#' .. number
    leases.used = leases.used + call('ZADD', leases.key, leases.last, slot)
  end
  call('PEXPIRE', leases.key, ttl_ms(leases.window))
end
