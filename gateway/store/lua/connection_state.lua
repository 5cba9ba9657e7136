---- The state of a connection: see gateway/core/connections/state.py --------------------------------------------------
--
-- A track is a table with the fields of the core's `Track`, `report` one with those of its `Report`; '' for None. What
-- breakers refused is in `shut` by their names; tracks of earlier gateways have none.

local OFFLINE_FAILURES, OFFLINE_AFTER = 5, 10 * SECOND
local SAME, OTHER, HALF_LIFE = 5 * SECOND, 60 * SECOND, 60 * SECOND
local WEIGHT, LEAST_WEIGHT, ENTER_SHARE, LEAVE_SHARE = 1024, 512, 10, 20

local MOMENTS = {
  'since_us', 'answered_us', 'offline_us', 'recovered_us', 'denied_us', 'limited_until_us', 'halved_us', 'success_us'
}

-- After a backward step of the clock: nothing was later than now, and all moments keep their distances.
local function make_good(track)
  local shut, latest = track.shut or {}, track.failure[1]
  for _, name in ipairs(MOMENTS) do
    if name ~= 'limited_until_us' then latest = math.max(latest, track[name]) end
  end
  for _, at in pairs(shut) do latest = math.max(latest, at) end
  if latest <= now then return end
  local function back(at)
    return at < 0 and at or math.max(0, at - (latest - now))
  end
  for _, name in ipairs(MOMENTS) do track[name] = back(track[name]) end
  for name, at in pairs(shut) do shut[name] = back(at) end
  track.failure[1] = back(track.failure[1])
end

local function halve(track)
  local halvings = math.floor((now - track.halved_us) / HALF_LIFE)
  if halvings > 0 then
    track.ok_weight = math.floor(track.ok_weight / 2 ^ halvings)
    track.failed_weight = math.floor(track.failed_weight / 2 ^ halvings)
    track.halved_us = track.halved_us + halvings * HALF_LIFE
  end
end

-- Whether the report has an answer that shows that this breaker refuses no more.
local function passed(name, refused, report)
  if name == '' then return report.answer_us >= 0 and now - report.answer_us > refused end
  for _, one in ipairs(report.through) do
    if one[1] == name and now - one[2] > refused then return true end
  end
  return report.answer_us >= 0 and now - report.answer_us >= refused + OTHER
end

-- Takes the refusals of breakers in. Returns whether there were any, and whether any are left.
local function take_refusals(track, report)
  local shut, left = track.shut or {}, {}
  for _, one in ipairs(report.shut) do
    local at = now - one[2]
    if at >= (one[1] == '' and track.answered_us or track.recovered_us) then shut[one[1]] = math.max(at, shut[one[1]] or -1) end
  end
  for name, at in pairs(shut) do
    if not passed(name, at, report) then left[name] = at end
  end
  track.shut = left
  return next(shut) ~= nil, next(left) ~= nil
end

local function take_failures(track, report)
  local failed_at = report.failure[1] >= 0 and now - report.failure[1] or now
  local failures, tail = report.failures, report.tail
  if failed_at < track.recovered_us then failures, tail = 0, 0 end
  local began = report.answer_us >= 0 and now - report.answer_us or -1
  track.streak = report.answer_us >= 0 and tail or track.streak + failures
  track.answered_us = math.max(track.answered_us, began)
  track.failed_weight = track.failed_weight + WEIGHT * failures
  if track.offline_us < 0 then
    local silent = now - track.answered_us >= OFFLINE_AFTER
    if failures > 0 and track.streak >= OFFLINE_FAILURES and silent then track.offline_us = now end
  end
  local refused, refusing = take_refusals(track, report)
  local ended = track.offline_us >= 0 and track.offline_us < began
  if ended then track.offline_us = -1 end
  if (ended or refused) and track.offline_us < 0 and not refusing then
    track.recovered_us, track.ok_weight, track.failed_weight = began, 0, WEIGHT * tail
  end
end

local function take_denial(track, report)
  if report.denied ~= '' and now - report.denied_us >= track.denied_us then
    track.denied, track.denied_us = report.denied, now - report.denied_us
    track.denied_operation, track.denied_entity = report.denied_operation, report.denied_entity
  end
  for _, row in ipairs(report.rows) do
    local same = row[1] == track.denied_operation and row[2] == track.denied_entity
    if row[3] > 0 and now - row[6] >= track.denied_us + (same and SAME or OTHER) then track.denied = '' end
  end
end

local function take_rest(track, report)
  if report.limited_us > 0 then
    track.limited_until_us = math.max(track.limited_until_us, now + report.limited_us)
  end
  for _, row in ipairs(report.rows) do
    track.ok_weight = track.ok_weight + WEIGHT * (row[3] + row[4])
    if row[3] > 0 then track.success_us = math.max(track.success_us, now - row[7]) end
  end
  local failure = report.failure
  if failure[1] >= 0 and now - failure[1] >= track.failure[1] then
    failure[1] = now - failure[1]
    track.failure = failure
  end
end

local function state_of(track)
  if track.offline_us >= 0 or (track.shut and next(track.shut)) then return 'offline' end
  if track.denied ~= '' then return track.denied end
  if track.limited_until_us > now then return 'rate_limited' end
  local share, failed = track.state == 'degraded' and LEAVE_SHARE or ENTER_SHARE, track.failed_weight
  if failed >= LEAST_WEIGHT and failed * share >= failed + track.ok_weight then return 'degraded' end
  return 'online'
end

local function ends_by_itself(track)
  if track.state == 'rate_limited' then return track.limited_until_us end
  if track.state ~= 'degraded' then return -1 end
  local weight, halvings = track.failed_weight, 0
  while weight >= LEAST_WEIGHT do weight, halvings = weight / 2, halvings + 1 end
  return track.halved_us + halvings * HALF_LIFE
end
