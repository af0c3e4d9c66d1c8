from pydantic import BaseModel


class Settings(BaseModel):
    title: str = "Shop"
    prefix: str = "/v1"


settings = Settings()
