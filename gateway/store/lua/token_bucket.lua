---- Token bucket: see gateway/core/algorithms/token_bucket.py ------------------------------------------------------
--
-- A string: format, level (units times per_us) at a time, that time, per_us.

local LEVEL, LEVEL_BYTES, LEVEL_LAST, LEVEL_FORMAT = '>BI7I7I6', 21, '20', 33

local function bucket_look(key, cost, quota, rate, per)
  local full = quota * per
  local bucket = {key = key, taken = cost * per, quota = quota, rate = rate, per = per, full = full, level = full, retry = 0}
  local packed = pcall('GETRANGE', key, '0', LEVEL_LAST)
  if type(packed) == 'table' then packed = foreign(packed) end
  if #packed < LEVEL_BYTES or byte(packed) ~= LEVEL_FORMAT then return bucket end
  local _, level, at, old_per = unpack(LEVEL, packed)
  if at > now then
    bucket.stepped, bucket.settled = true, pack(LEVEL, LEVEL_FORMAT, level, now, old_per)
    at = now
  end
  if old_per ~= per then level = floor(level / old_per) * per end
  -- Multiplies only times that do not fill the bucket: rate * time stays exact.
  if now - at < ceil_div(full - level, rate) then bucket.level = level + rate * (now - at) end
  bucket.retry = max(0, ceil_div(bucket.taken - bucket.level, rate))
  return bucket
end

local function bucket_present(bucket)
  local rate, per, level = bucket.rate, bucket.per, bucket.level
  if level == bucket.full then return bucket.quota, 0, 0 end
  return floor(level / per), ceil_div(bucket.full - level, rate), ceil_div(per - level % per, rate)
end

local function bucket_settle(bucket)
  call('SET', bucket.key, bucket.settled, 'KEEPTTL')
end

local function bucket_charge(bucket)
  local level = bucket.level - bucket.taken
  bucket.level = level
  local ttl = ttl_ms(ceil_div(bucket.full - level, bucket.rate)) -- a full bucket need not be remembered
  call('SET', bucket.key, pack(LEVEL, LEVEL_FORMAT, level, now, bucket.per), 'PX', ttl)
end
