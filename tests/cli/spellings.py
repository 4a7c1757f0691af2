"""Spellings of a variable with the database's URL, and the places where one may stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Way:
    """One way: the lines above it, the expression, and the variables with their placeholders."""

    above: str
    url: str
    variables: Mapping[str, str] = field(default_factory=lambda: {"DB": "{url}"})


WAYS = {
    "environ[]": Way("import os", 'os.environ["DB"]'),
    "environ.get": Way(
        "import os", 'os.environ.get("DATABASE_URL", "sqlite:///app.db")', {"DATABASE_URL": "{url}"}
    ),
    "getenv": Way(
        "import os", 'os.getenv("DATABASE_URL", "sqlite:///app.db")', {"DATABASE_URL": "{url}"}
    ),
    "getenv kw": Way(
        "import os",
        'os.getenv(key="DATABASE_URL", default="sqlite:///app.db")',
        {"DATABASE_URL": "{url}"},
    ),
    "from os": Way(
        "from os import environ, getenv",
        'environ.get("A") or getenv("B", "sqlite:///app.db")',
        {"A": "{url}", "B": "{url}"},
    ),
    "as": Way("import os as _os", '_os.environ.get("DB", "sqlite:///app.db")'),
    "env = os.environ": Way(
        """\
import os
env = os.environ
""",
        'env.get("DB", "sqlite:///app.db")',
    ),
    "env[]": Way(
        """\
import os
env = os.environ
""",
        'env["DB"]',
    ),
    "dict(os.environ)": Way(
        """\
import os
env = dict(os.environ)
""",
        'env.get("DB", "sqlite:///app.db")',
    ),
    "merged": Way(
        """\
import os
from dotenv import dotenv_values
env = {**dotenv_values('.env'), **os.environ}
""",
        'env.get("DB", "sqlite:///app.db")',
    ),
    "constant name": Way(
        """\
import os
NAME = 'SHOP_DB'
""",
        'os.environ.get(NAME, "sqlite:///app.db")',
        {"SHOP_DB": "{url}"},
    ),
    "f name": Way(
        """\
import os
PREFIX = 'SHOP'
""",
        'os.environ.get(f"{PREFIX}_DB", "sqlite:///app.db")',
        {"SHOP_DB": "{url}"},
    ),
    "plus name": Way(
        """\
import os
PREFIX = 'SHOP_'
""",
        'os.environ.get(PREFIX + "DB", "sqlite:///app.db")',
        {"SHOP_DB": "{url}"},
    ),
    "in branch": Way("import os", 'os.environ["DB"] if "DB" in os.environ else "sqlite:///app.db"'),
    "strip": Way("import os", 'os.environ.get("DB", "sqlite:///app.db").strip()'),
    "replace": Way(
        "import os",
        'os.environ.get("DB", "sqlite:///app.db").replace("postgres://", "postgresql://")',
    ),
    "make_url": Way(
        """\
import os
from sqlalchemy import make_url
""",
        'make_url(os.environ.get("DB", "sqlite:///app.db"))',
    ),
    "make_url.set": Way(
        """\
import os
from sqlalchemy import make_url
""",
        'make_url(os.environ.get("DB", "sqlite:///app.db")).set(query={})',
    ),
    "file": Way(
        "import os", "f\"sqlite:///{os.getenv('DB_FILE', 'app.db')}\"", {"DB_FILE": "{path}"}
    ),
    "file %": Way(
        "import os", '"sqlite:///%s" % os.getenv("DB_FILE", "app.db")', {"DB_FILE": "{path}"}
    ),
    "file format": Way(
        "import os", '"sqlite:///{}".format(os.getenv("DB_FILE", "app.db"))', {"DB_FILE": "{path}"}
    ),
    "Path": Way(
        """\
import os
from pathlib import Path
""",
        "f\"sqlite:///{Path(os.getenv('DB_FILE', 'app.db'))}\"",
        {"DB_FILE": "{path}"},
    ),
    "Path abs": Way(
        """\
import os
from pathlib import Path
""",
        "f\"sqlite:///{Path(os.getenv('DB_FILE', 'app.db')).resolve()}\"",
        {"DB_FILE": "{path}"},
    ),
    "expandvars": Way(
        "import os", 'os.path.expandvars("sqlite:///$DB_FILE")', {"DB_FILE": "{path}"}
    ),
    "try": Way(
        """\
import os
try:
    URL_ = os.environ['DB']
except KeyError:
    URL_ = 'sqlite:///app.db'
""",
        "URL_",
    ),
    "loop": Way(
        "import os",
        'next((os.environ[n] for n in ("DB_A", "DB_B") if n in os.environ), "sqlite:///app.db")',
        {"DB_A": "{url}", "DB_B": "{url}"},
    ),
    "walrus": Way("import os", 'url_ if (url_ := os.getenv("DB")) else "sqlite:///app.db"'),
    "pydantic": Way(
        """\
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    database_url: str = 'sqlite:///app.db'
""",
        "Settings().database_url",
        {"DATABASE_URL": "{url}"},
    ),
    "pydantic prefix": Way(
        """\
from pydantic_settings import BaseSettings, SettingsConfigDict
class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix='SHOP_')
    database_url: str = 'sqlite:///app.db'
settings = Settings()
""",
        "settings.database_url",
        {"SHOP_DATABASE_URL": "{url}"},
    ),
    "pydantic dict": Way(
        """\
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    model_config = dict(env_prefix='SHOP_')
    database_url: str = 'sqlite:///app.db'
settings = Settings()
""",
        "settings.database_url",
        {"SHOP_DATABASE_URL": "{url}"},
    ),
    "pydantic Config": Way(
        """\
from pydantic_settings import BaseSettings
class Settings(BaseSettings, env_prefix='SHOP_'):
    database_url: str = 'sqlite:///app.db'
settings = Settings()
""",
        "settings.database_url",
        {"SHOP_DATABASE_URL": "{url}"},
    ),
    "pydantic inherited prefix": Way(
        """\
from pydantic_settings import BaseSettings
class Common(BaseSettings):
    model_config = {'env_prefix': 'SHOP_'}
class Settings(Common):
    database_url: str = 'sqlite:///app.db'
settings = Settings()
""",
        "settings.database_url",
        {"SHOP_DATABASE_URL": "{url}"},
    ),
    "pydantic alias": Way(
        """\
from pydantic import Field
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    url: str = Field('sqlite:///app.db', alias='DB_URL')
settings = Settings()
""",
        "settings.url",
        {"DB_URL": "{url}"},
    ),
    "pydantic validation_alias": Way(
        """\
from pydantic import Field, AliasChoices
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    url: str = Field(default='sqlite:///app.db', validation_alias=AliasChoices('DB_URL', 'DSN'))
settings = Settings()
""",
        "settings.url",
        {"DB_URL": "{url}"},
    ),
    "pydantic Annotated": Way(
        """\
from typing import Annotated
from pydantic import Field
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    url: Annotated[str, Field(alias='DB_URL')] = 'sqlite:///app.db'
settings = Settings()
""",
        "settings.url",
        {"DB_URL": "{url}"},
    ),
    "pydantic nested": Way(
        """\
from pydantic import BaseModel
from pydantic_settings import BaseSettings
class Db(BaseModel):
    url: str = 'sqlite:///app.db'
class Settings(BaseSettings):
    model_config = {'env_prefix': 'SHOP_', 'env_nested_delimiter': '__'}
    db: Db = Db()
settings = Settings()
""",
        "settings.db.url",
        {"SHOP_DB__URL": "{url}"},
    ),
    "pydantic sub": Way(
        """\
from pydantic_settings import BaseSettings
class Db(BaseSettings):
    model_config = {'env_prefix': 'DB_'}
    url: str = 'sqlite:///app.db'
class Settings(BaseSettings):
    db: Db = Db()
settings = Settings()
""",
        "settings.db.url",
        {"DB_URL": "{url}"},
    ),
    "pydantic sub factory": Way(
        """\
from pydantic import Field
from pydantic_settings import BaseSettings
class Db(BaseSettings):
    model_config = {'env_prefix': 'DB_'}
    url: str = 'sqlite:///app.db'
class Settings(BaseSettings):
    db: Db = Field(default_factory=Db)
settings = Settings()
""",
        "settings.db.url",
        {"DB_URL": "{url}"},
    ),
    "pydantic property": Way(
        """\
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    database_url: str = 'sqlite:///app.db'
    @property
    def url(self):
        return self.database_url.replace('postgres:', 'postgresql:')
settings = Settings()
""",
        "settings.url",
        {"DATABASE_URL": "{url}"},
    ),
    "pydantic validator": Way(
        """\
from pydantic_settings import BaseSettings
from pydantic import computed_field
class Settings(BaseSettings):
    db_file: str = 'app.db'
    @computed_field
    @property
    def url(self) -> str:
        return f'sqlite:///{self.db_file}'
settings = Settings()
""",
        "settings.url",
        {"DB_FILE": "{path}"},
    ),
    "pydantic path": Way(
        """\
from pydantic_settings import BaseSettings
from pathlib import Path
class Settings(BaseSettings):
    db_file: Path = Path('app.db')
settings = Settings()
""",
        "f'sqlite:///{settings.db_file}'",
        {"DB_FILE": "{path}"},
    ),
    "pydantic Secret": Way(
        """\
from pydantic_settings import BaseSettings
from pydantic import SecretStr
class Settings(BaseSettings):
    db: SecretStr = SecretStr('sqlite:///app.db')
settings = Settings()
""",
        "settings.db.get_secret_value()",
    ),
    "pydantic cached": Way(
        """\
from functools import lru_cache
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    database_url: str = 'sqlite:///app.db'
@lru_cache
def get_settings():
    return Settings()
""",
        "get_settings().database_url",
        {"DATABASE_URL": "{url}"},
    ),
    "pydantic annotated fn": Way(
        """\
from functools import lru_cache
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    database_url: str = 'sqlite:///app.db'
_s = None
def get_settings() -> Settings:
    global _s
    if _s is None:
        _s = Settings()
    return _s
""",
        "get_settings().database_url",
        {"DATABASE_URL": "{url}"},
    ),
    "pydantic case": Way(
        """\
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    model_config = {'case_sensitive': True}
    database_url: str = 'sqlite:///app.db'
settings = Settings()
""",
        "settings.database_url",
        {"database_url": "{url}"},
    ),
    "dataclass": Way(
        """\
import os
from dataclasses import dataclass, field
@dataclass
class Settings:
    url: str = field(default_factory=lambda: os.environ.get('DB', 'sqlite:///app.db'))
settings = Settings()
""",
        "settings.url",
    ),
    "class": Way(
        """\
import os
class Settings:
    url = os.environ.get('DB', 'sqlite:///app.db')
""",
        "Settings.url",
    ),
    "init": Way(
        """\
import os
class Settings:
    def __init__(self):
        self.url = os.environ.get('DB', 'sqlite:///app.db')
""",
        "Settings().url",
    ),
    "init2": Way(
        """\
import os
class Settings:
    def __init__(self, url):
        self.url = url
settings = Settings(os.environ.get('DB', 'sqlite:///app.db'))
""",
        "settings.url",
    ),
    "init kw": Way(
        """\
import os
class Settings:
    def __init__(self, url):
        self.url = url
settings = Settings(url=os.environ.get('DB', 'sqlite:///app.db'))
""",
        "settings.url",
    ),
    "dataclass given": Way(
        """\
import os
from dataclasses import dataclass
@dataclass
class Settings:
    debug: bool
    url: str
settings = Settings(debug=True, url=os.environ.get('DB', 'sqlite:///app.db'))
""",
        "settings.url",
    ),
    "from_env": Way(
        """\
import os
from dataclasses import dataclass
@dataclass
class Settings:
    url: str
    @classmethod
    def from_env(cls):
        return cls(url=os.environ.get('DB', 'sqlite:///app.db'))
settings = Settings.from_env()
""",
        "settings.url",
    ),
    "namespace": Way(
        """\
import os
from types import SimpleNamespace
settings = SimpleNamespace(url=os.environ.get('DB', 'sqlite:///app.db'))
""",
        "settings.url",
    ),
    "dict": Way(
        """\
import os
SETTINGS = {'url': os.environ.get('DB', 'sqlite:///app.db')}
""",
        "SETTINGS['url']",
    ),
    "dict get": Way(
        """\
import os
SETTINGS = dict(url=os.environ.get('DB', 'sqlite:///app.db'))
""",
        "SETTINGS.get('url')",
    ),
    "django": Way(
        """\
import os
DATABASES = {'default': {'URL': os.environ.get('DB', 'sqlite:///app.db')}}
""",
        "DATABASES['default']['URL']",
    ),
    "helper": Way(
        """\
import os
def env(name, default=None):
    return os.environ.get(name, default)
""",
        "env('SHOP_DB', 'sqlite:///app.db')",
        {"SHOP_DB": "{url}"},
    ),
    "helper prefix": Way(
        """\
import os
def env(name, default=None):
    return os.environ.get(f'SHOP_{name}', default)
""",
        "env('DB', 'sqlite:///app.db')",
        {"SHOP_DB": "{url}"},
    ),
    "helper required": Way(
        """\
import os
def env(name):
    value = os.environ.get(name)
    if value is None:
        raise RuntimeError(name)
    return value
""",
        "env('SHOP_DB')",
        {"SHOP_DB": "{url}"},
    ),
    "decouple": Way(
        "from decouple import config as read",
        "read('DATABASE_URL', default='sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "decouple module": Way(
        "import decouple",
        "decouple.config('DATABASE_URL', default='sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "AutoConfig": Way(
        """\
from decouple import AutoConfig
read = AutoConfig(search_path='.')
""",
        "read('DATABASE_URL', default='sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "decouple Repo": Way(
        """\
from decouple import Config, RepositoryEmpty
read = Config(RepositoryEmpty())
""",
        "read('DATABASE_URL', default='sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "decouple lower": Way(
        "from decouple import config as read",
        "read('database_url', default='sqlite:///app.db')",
        {"database_url": "{url}"},
    ),
    "environs": Way(
        """\
from environs import Env
env = Env()
env.read_env()
""",
        "env.str('DATABASE_URL', 'sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "environs call": Way(
        """\
from environs import Env
env = Env()
""",
        "env('DATABASE_URL', 'sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "environs singleton": Way(
        "from environs import env",
        "env.str('DATABASE_URL', default='sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "environs prefixed": Way(
        """\
from environs import Env
env = Env()
with env.prefixed('SHOP_'):
    URL_ = env('DB', 'sqlite:///app.db')
""",
        "URL_",
        {"SHOP_DB": "{url}"},
    ),
    "environs prefix": Way(
        """\
from environs import Env
env = Env(prefix='SHOP_')
""",
        "env('DB', 'sqlite:///app.db')",
        {"SHOP_DB": "{url}"},
    ),
    "starlette": Way(
        """\
from starlette.config import Config
read = Config()
""",
        "read('DATABASE_URL', default='sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "starlette cast": Way(
        """\
from starlette.config import Config
from starlette.datastructures import Secret
read = Config()
""",
        "str(read('DATABASE_URL', cast=Secret, default='sqlite:///app.db'))",
        {"DATABASE_URL": "{url}"},
    ),
    "starlette prefix": Way(
        """\
from starlette.config import Config
read = Config(env_prefix='SHOP_')
""",
        "read('DB', default='sqlite:///app.db')",
        {"SHOP_DB": "{url}"},
    ),
    "starlette env": Way(
        "from starlette.config import environ", "environ.get('DB', 'sqlite:///app.db')"
    ),
    "django-environ": Way(
        """\
import environ
env = environ.Env(DEBUG=(bool, False))
""",
        "env('DATABASE_URL', default='sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "django-environ str": Way(
        """\
import environ
env = environ.Env()
""",
        "env.str('DATABASE_URL', default='sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "dynaconf": Way(
        """\
from dynaconf import Dynaconf
settings = Dynaconf(envvar_prefix='SHOP', DATABASE_URL='sqlite:///app.db')
""",
        "settings.DATABASE_URL",
        {"SHOP_DATABASE_URL": "{url}"},
    ),
    "dynaconf2": Way(
        """\
from dynaconf import Dynaconf
settings = Dynaconf(DATABASE_URL='sqlite:///app.db')
""",
        "settings.database_url",
        {"DYNACONF_DATABASE_URL": "{url}"},
    ),
    "prettyconf": Way(
        "from prettyconf import config as read",
        "read('DATABASE_URL', default='sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "dotenv": Way(
        """\
import os
from dotenv import load_dotenv
load_dotenv()
""",
        "os.environ.get('DATABASE_URL', 'sqlite:///app.db')",
        {"DATABASE_URL": "{url}"},
    ),
    "global fn": Way(
        """\
import os
URL_ = 'sqlite:///app.db'
def load():
    global URL_
    URL_ = os.environ.get('DB', URL_)
load()
""",
        "URL_",
    ),
    "augmented": Way(
        """\
import os
URL_ = os.environ.get('DB', 'sqlite:///app.db')
URL_ += ''
""",
        "URL_",
    ),
    "tuple": Way(
        """\
import os
NAME_, URL_ = 'x', os.environ.get('DB', 'sqlite:///app.db')
""",
        "URL_",
    ),
}

_HEAD = """
from alembic import context
from sqlalchemy import create_engine
from sqlalchemy import engine_from_config, pool
from shop.models import Base
ABOVE

def migrate(connection):
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
_RUN = f"""{_HEAD}
def run(url):
    with create_engine(url).connect() as connection:
        migrate(connection)

"""
_OPTION = f"""{_HEAD}
config = context.config
config.set_main_option("sqlalchemy.url", str(SPELLED).replace("%", "%%"))
section = config.get_section(config.config_ini_section)
with engine_from_config(section, poolclass=pool.NullPool).connect() as connection:
    migrate(connection)
"""
# By place, the files of it; ABOVE and SPELLED are a way's.
PLACES = {
    "env.py": {"migrations/env.py": f"{_RUN}run(SPELLED)\n"},
    "a function of env.py": {
        "migrations/env.py": f"{_RUN}def get_url():\n    return SPELLED\n\nrun(get_url())\n"
    },
    "settings": {
        "shop/settings.py": "ABOVE\nURL = SPELLED\n",
        "migrations/env.py": _RUN.replace("ABOVE", "from shop import settings")
        + "run(settings.URL)\n",
    },
    "a function of settings": {
        "shop/settings.py": "ABOVE\ndef get_url():\n    return SPELLED\n",
        "migrations/env.py": _RUN.replace("ABOVE", "from shop.settings import get_url")
        + "run(get_url())\n",
    },
    "Alembic's option": {
        "shop/settings.py": "ABOVE\nURL = SPELLED\n",
        "migrations/env.py": _OPTION.replace("ABOVE", "from shop.settings import URL").replace(
            "SPELLED", "URL"
        ),
    },
    "the application's engine": {
        "shop/db.py": "ABOVE\nfrom sqlalchemy import create_engine\n"
        "engine = create_engine(SPELLED)\n",
        "migrations/env.py": _HEAD.replace("ABOVE", "from shop.db import engine")
        + "with engine.connect() as connection:\n    migrate(connection)\n",
    },
    "a function that makes an engine": {
        "shop/db.py": "from sqlalchemy import create_engine\n"
        "def make(url, echo=False):\n    return create_engine(url, echo=echo)\n",
        "migrations/env.py": _HEAD.replace("ABOVE", "from shop.db import make\nABOVE")
        + "with make(SPELLED).connect() as connection:\n    migrate(connection)\n",
    },
}


def files(way: str, place: str) -> dict[str, str]:
    """The files of a project that has its URL in a way, in a place."""
    chosen = WAYS[way]
    return {
        name: text.replace("ABOVE", chosen.above).replace("SPELLED", chosen.url)
        for name, text in PLACES[place].items()
    }
