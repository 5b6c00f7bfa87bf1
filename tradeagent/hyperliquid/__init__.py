"""The venue's own protocol. So far its account answers, read and computed anew; `wire` loads pydantic."""
