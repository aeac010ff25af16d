"""Settings: read once from `loam.yaml` and the environment, typed, and passed down.

An environment variable `LOAM_X` wins over the key `x` of the file; a value that is a list or a
mapping is given as JSON. In the file `${NAME}` stands for a variable of the environment and
`${NAME:=default}` for one with a default. Keys that are not known are refused with their line.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from services.errors import InvalidSettings
from services.model_table import Problem, problems_of

EngineKind = Literal["extractive", "groq", "openai", "local", "vllm"]
# finetune.config has the same; importing that would slow every start of the command line.
Quantization = Literal["nf4", "none"]
Dtype = Literal["float32", "bfloat16", "float16"]
EmbedderPrecision = Literal["f32", "bf16", "int8"]
IndexPlace = Literal["files", "database"]
ModerationStyle = Literal["scores", "llama_guard"]

_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::=(?P<default>[^}]*))?\}")
_HOSTED = frozenset({"base_url", "api_key_env", "retries"})
_OUTSIDE = {"groq_api_key": "GROQ_API_KEY", "openai_api_key": "OPENAI_API_KEY"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(_Strict):
    """A model that can generate: `source` is its name at the engine, or where its weights are.

    A local one runs in its checkpoint's own `dtype`, its weights as they are, unless told otherwise. So does one whose
    vLLM server loam starts, with `args` beside its own; with a `base_url` that server runs already.
    `timeout_s` is how long it may stay silent, `fallbacks` are the models to ask when it fails, in order.
    """

    id: Annotated[str, Field(min_length=1)]
    engine: EngineKind
    source: Annotated[str, Field(min_length=1)]
    base_url: str | None = None
    api_key_env: str | None = None
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    retries: Annotated[int, Field(ge=0, le=10)] | None = None
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    fallbacks: tuple[str, ...] = ()
    quantization: Quantization | None = None
    dtype: Dtype | None = None
    args: tuple[str, ...] | None = None

    @property
    def is_weights(self) -> bool:
        """Whether `source` is where weights are, a directory or a hub id, that loam itself has served."""
        return self.engine == "local" or self.starts_vllm

    @property
    def starts_vllm(self) -> bool:
        """Whether loam starts a vLLM server for it."""
        return self.engine == "vllm" and self.base_url is None

    @model_validator(mode="after")
    def _of_its_engine(self) -> "ModelSettings":
        meant = {"local": {"quantization", "dtype"}, "vllm": self._of_vllm()}.get(self.engine, _HOSTED)
        for name in ("base_url", "api_key_env", "retries", "quantization", "dtype", "args"):
            if name not in meant and getattr(self, name) is not None:
                raise ValueError(f"{name} means nothing to the engine {self.engine}{self._as_it_is()}")
        return self

    def _of_vllm(self) -> set[str]:
        return {"base_url", "api_key_env"} if self.base_url else {"base_url", "dtype", "args"}

    def _as_it_is(self) -> str:
        if self.engine != "vllm":
            return ""
        return " with a base_url" if self.base_url else " without a base_url"


class AliasSettings(_Strict):
    """A model name that binds a generator, vector stores (by name or id), a prompt and defaults.

    With `decompose` questions that need several look-ups are searched for part by part. `fallbacks` come after those
    of its model.
    """

    model: str
    vector_stores: tuple[str, ...] = ()
    prompt: str = "answer_with_sources"
    max_num_results: Annotated[int, Field(ge=1, le=50)] | None = None
    decompose: bool = False
    fallbacks: tuple[str, ...] = ()


class Settings(_Strict):
    """Every setting. Each is named, with a sentence, in `deploy/env.example`."""

    home: Path = Path("~/.loam")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    database_url: str | None = None
    indexes: IndexPlace | None = None
    cache_dir: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    default: str = "extractive"
    models: tuple[ModelSettings, ...] = ()
    aliases: Mapping[str, AliasSettings] = {}

    embedder: Annotated[str, Field(min_length=1)] = "all-MiniLM-L6-v2"
    embedder_threads: Annotated[int, Field(ge=1)] | None = None
    embedder_precision: EmbedderPrecision | None = None
    reranker: Annotated[str, Field(min_length=1)] | None = None
    entailment: Annotated[str, Field(min_length=1)] | None = None

    groq_api_key: SecretStr | None = None
    groq_base_url: str | None = None
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    upstream_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    upstream_retries: Annotated[int, Field(ge=0, le=10)] = 2
    model_wait_s: Annotated[float, Field(ge=0)] = 10.0
    circuit_failures: Annotated[int, Field(ge=0)] = 5
    circuit_open_s: Annotated[float, Field(gt=0)] = 30.0

    moderation_model: str | None = None
    moderation_style: ModerationStyle = "scores"

    model_roots: tuple[Path, ...] = ()
    local_bases: Annotated[int, Field(ge=1)] = 2
    local_slots: Annotated[int, Field(ge=1)] = 16
    local_waiting: Annotated[int, Field(ge=0)] = 32
    local_adapter_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024 * 1024

    vllm_python: Path | None = None
    vllm_args: tuple[str, ...] = ()
    vllm_start_s: Annotated[float, Field(gt=0)] = 600.0
    vllm_adapters: Annotated[int, Field(ge=1)] = 4
    vllm_lora_rank: Annotated[int, Field(ge=0, le=512)] = 64

    context_tokens: Annotated[int, Field(ge=256)] = 3000
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 10
    rewrite_model: str | None = None
    graph_model: str | None = None
    unsupported: Literal["keep", "mark", "drop"] | None = None

    worker: bool = True
    tuning_device: Annotated[str, Field(pattern=r"^[a-z]+(:\d+)?$")] | None = None
    max_file_bytes: Annotated[int, Field(ge=1)] = 512 * 1024 * 1024
    max_body_bytes: Annotated[int, Field(ge=1)] = 16 * 1024 * 1024
    index_generations_kept: Annotated[int, Field(ge=0)] = 1
    parse_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    parse_memory_bytes: Annotated[int, Field(ge=1)] = 4 * 1024 * 1024 * 1024

    require_key: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.home / 'loam.db'}"

    @property
    def embedder_name(self) -> str:
        """The embedder without its organisation or folder, as it is listed and asked for."""
        return Path(self.embedder).resolve().name

    @property
    def reranker_name(self) -> str | None:
        """The reranker without its organisation or folder, as it is listed and asked for."""
        return None if self.reranker is None else Path(self.reranker).resolve().name

    @property
    def blobs_dir(self) -> Path:
        return self.home / "blobs"

    @property
    def indexes_dir(self) -> Path:
        return self.home / "indexes"

    @property
    def prompts_dir(self) -> Path:
        return self.home / "prompts"

    @property
    def calibrations_dir(self) -> Path:
        return self.home / "calibrations"

    @property
    def tuning_dir(self) -> Path:
        """Where each fine-tuning job has its folder, with its checkpoints and its model."""
        return self.home / "tuning"

    @property
    def vllm_dir(self) -> Path:
        """Where the vLLM servers that loam starts have their logs."""
        return self.home / "vllm"

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """The directories below which a model may be named over HTTP."""
        return tuple(root.expanduser().absolute() for root in self.model_roots) or (self.home / "models",)

    @property
    def cache(self) -> Path:
        """Where exported graphs are kept: the user's cache, shared by every home."""
        import platformdirs

        return (self.cache_dir or platformdirs.user_cache_path("loam")).expanduser().absolute()


def load_settings(config: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Raises InvalidSettings, every problem in one message."""
    environment = os.environ if environment is None else environment
    home = Path(environment.get("LOAM_HOME") or "~/.loam").expanduser()
    path = config or home / "loam.yaml"
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    if path.is_file():
        values, lines = _read(path, environment)
    elif config is not None:
        raise InvalidSettings(f"There is no configuration file {str(config)!r}.")
    given = _from_environment(environment)
    values.update(given)
    try:
        settings = Settings.model_validate({"home": home, **values})
    except ValidationError as exc:
        raise InvalidSettings(_explained(_problems(exc), path, _in_file(lines, given))) from None
    if problems := problems_of(settings):
        raise InvalidSettings(_explained(problems, path, _in_file(lines, given)))
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def secret_of_environment(variable: str) -> SecretStr | None:
    """Give the secret that a model's `api_key_env` names, if it is set."""
    value = os.environ.get(variable)
    return SecretStr(value) if value else None


def _read(path: Path, environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        text = _interpolated(path.read_text(encoding="utf-8"), environment)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as exc:
        # Not the whole error: it shows the line, in which the value of a variable may be a secret.
        line = f", line {exc.problem_mark.line + 1}" if exc.problem_mark else ""
        raise InvalidSettings(f"{path}{line}: not valid YAML: {exc.problem}.") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InvalidSettings(f"{path}: not valid YAML: it holds what is not text.") from None
    except KeyError as exc:
        raise InvalidSettings(f"{path}: the environment variable {exc} is not set and has no default.") from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise InvalidSettings(f"{path}: must be a mapping of settings.")
    if repeated := list(_repeated(node, "")):
        raise InvalidSettings("\n".join(f"{path}, line {line}: {place}: is there twice." for place, line in repeated))
    return values, dict(_lines(node, ""))


def _interpolated(text: str, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        found = environment.get(match["name"], match["default"])
        if found is None:
            raise KeyError(match["name"])
        return found

    return _VARIABLE.sub(value, _COMMENT.sub("", text))


def _lines(node: yaml.Node | None, path: str) -> list[tuple[str, int]]:
    """The line of each key, by its dotted path."""
    found: list[tuple[str, int]] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = f"{path}{key.value}"
            found += [(place, key.start_mark.line + 1), *_lines(value, f"{place}.")]
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found += [(f"{path}{index}", value.start_mark.line + 1), *_lines(value, f"{path}{index}.")]
    return found


def _repeated(node: yaml.Node | None, path: str) -> Iterator[tuple[str, int]]:
    """Give each key that came before, with its line: YAML itself lets the last one win without a word."""
    if isinstance(node, yaml.MappingNode):
        seen = set[str]()
        for key, value in node.value:
            place = f"{path}{key.value}"
            if place in seen:
                yield place, key.start_mark.line + 1
            seen.add(place)
            yield from _repeated(value, f"{place}.")
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated(value, f"{path}{index}.")


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        text = environment.get(_variable(name))
        if text:
            structured = field.annotation is not None and _is_structured(field.default)
            values[name] = _json(name, text) if structured else text
    return values


def _is_structured(default: Any) -> bool:
    return isinstance(default, tuple | dict)


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        raise InvalidSettings(f"{_variable(name)} must be JSON: {exc}.") from exc


def _in_file(lines: Mapping[str, int], given: Mapping[str, Any]) -> dict[str, int]:
    """Leave out the lines of what the environment gives in place of the file."""
    return {place: line for place, line in lines.items() if place.partition(".")[0] not in given}


def _problems(error: ValidationError) -> list[Problem]:
    unknown = "there is no such setting"
    return [(item["loc"], unknown if item["type"] == "extra_forbidden" else item["msg"]) for item in error.errors()]


def _explained(problems: Iterable[Problem], path: Path, lines: Mapping[str, int]) -> str:
    told = ((_where(location, path, lines), ".".join(map(str, location)), said) for location, said in problems)
    return "\n".join(f"{where}: {place}: {said}." for where, place, said in told)


def _where(location: tuple[int | str, ...], path: Path, lines: Mapping[str, int]) -> str:
    """Give the line of a setting, or of what it is missing from, else its variable."""
    for end in range(len(location), 0, -1):
        place = ".".join(str(part) for part in location[:end])
        if place in lines:
            return f"{path}, line {lines[place]}"
    return _variable(str(location[0]))


def _variable(name: str) -> str:
    return _OUTSIDE.get(name, f"LOAM_{name.upper()}")
