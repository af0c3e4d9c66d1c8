-- Units and instants are whole numbers written in decimal: Lua's own numbers are exact only up to 2^53.
-- None is negative. Instants are microseconds since 1970.

local MOST = '9223372036854775807'
local FOREVER = '253370764800000000'
local DAY = '86400000000'
local KEPT = '34560000000000' -- 400 days
local EXACT = 2 ^ 53
local format = string.format

local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function halves(a)
  return tonumber(string.sub(a, 1, -11)) or 0, tonumber(string.sub(a, -10))
end

local function joined(high, low)
  if high == 0 then return format('%.0f', low) end
  return format('%.0f%010.0f', high, low)
end

local function plus(a, b)
  local sum = a + b
  if sum < EXACT then return format('%.0f', sum) end
  local ah, al = halves(a)
  local bh, bl = halves(b)
  local high, low = ah + bh, al + bl
  if low >= 1e10 then high, low = high + 1, low - 1e10 end
  return joined(high, low)
end

-- What is left of a, never below zero.
local function minus(a, b)
  if not less(b, a) then return '0' end
  if tonumber(a) < EXACT then return format('%.0f', a - b) end
  local ah, al = halves(a)
  local bh, bl = halves(b)
  local high, low = ah - bh, al - bl
  if low < 0 then high, low = high - 1, low + 1e10 end
  return joined(high, low)
end

local function smaller(a, b)
  if less(b, a) then return b end
  return a
end

local function greater(a, b)
  if less(a, b) then return b end
  return a
end

-- A test's clock, or the server's.
local function instant(given)
  if given then return given end
  local time = redis.call('TIME')
  return format('%.0f', time[1] * 1000000 + time[2])
end
