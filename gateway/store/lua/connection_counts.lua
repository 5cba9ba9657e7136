---- Attempts by operation and entity: see gateway/core/connections/counts.py -----------------------------------------
--
-- A bucket is {number, size: how many rows, rows: "operation\31entity" = {ok, rejected, failed}}.

local SECOND = 1000000
local BUCKET, BUCKETS, MAX_ROWS = 60 * SECOND, 10, 32

local function count(buckets, rows)
  local kept, oldest = {}, math.floor(now / BUCKET) - BUCKETS
  for _, bucket in ipairs(buckets) do
    if bucket.number > oldest then kept[#kept + 1] = bucket end
  end
  for _, row in ipairs(rows) do
    local operation, entity, ok, rejected, failed = unpack(row)
    if ok + rejected + failed > 0 then
      local newest = kept[#kept]
      local number = math.max(math.floor(now / BUCKET), newest and newest.number or 0)
      if not newest or newest.number ~= number then
        newest = {number = number, size = 0, rows = {}}
        kept[#kept + 1] = newest
      end
      local pair = operation .. '\31' .. entity
      if not newest.rows[pair] and newest.size >= MAX_ROWS then pair = '(other)\31' end
      local counts = newest.rows[pair]
      if not counts then
        counts = {0, 0, 0}
        newest.rows[pair], newest.size = counts, newest.size + 1
      end
      counts[1], counts[2], counts[3] = counts[1] + ok, counts[2] + rejected, counts[3] + failed
    end
  end
  return kept
end
