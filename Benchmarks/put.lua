-- wrk's side of the cross-check: the same PUTs as `load --operation put`, a key of its own for each.
local number = 0
local value = string.rep("v", 128)
local prefix = "/v1/kv/wrk/" .. tostring(os.time()) .. "/"

request = function()
    number = number + 1
    return wrk.format("PUT", prefix .. number, { ["Content-Length"] = "128" }, value)
end

response = function(status, headers, body)
    if status ~= 200 or string.sub(body, 1, 4) ~= "true" then
        print("wrk: status " .. status .. ": " .. body)
        wrk.thread:stop()
    end
end
