---- Fixed window: see gateway/core/algorithms/fixed_window.py ------------------------------------------------------
--
-- A string: format, time of the last charge, units used in its window.

local TALLY, TALLY_BYTES, TALLY_LAST, TALLY_FORMAT = '>BI7I4', 12, '11', 49

local function tally_look(key, cost, quota, window)
  local border = window - now % window
  local tally = {key = key, cost = cost, quota = quota, border = border, used = 0, retry = 0}
  local packed = pcall('GETRANGE', key, '0', TALLY_LAST)
  if type(packed) == 'table' then packed = foreign(packed) end
  if #packed < TALLY_BYTES or byte(packed) ~= TALLY_FORMAT then return tally end
  local _, last, used = unpack(TALLY, packed)
  local ahead = floor(last / window) - floor(now / window)
  if ahead >= 0 then tally.used, tally.stepped = used, ahead > 0 end
  if tally.used + cost > quota then tally.retry = border end
  return tally
end

local function tally_present(tally)
  if tally.used == 0 then return tally.quota, 0, 0 end
  return max(0, tally.quota - tally.used), tally.border, tally.border
end

local function tally_settle(tally)
  call('SET', tally.key, pack(TALLY, TALLY_FORMAT, now, tally.used), 'PX', ttl_ms(tally.border))
end

local function tally_charge(tally)
  tally.used = tally.used + tally.cost
  tally_settle(tally)
end
