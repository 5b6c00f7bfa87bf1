"""Canonical names: each list of the specification exists here once; ledger, JSON, journal, screens and docs use them."""

from enum import StrEnum


class Rule(StrEnum):
    """Rules of the door, in the order they are checked."""

    SHAPE = "SHAPE"
    LEASE = "LEASE"
    SCOPE = "SCOPE"
    LIVE_GATE = "LIVE_GATE"
    KILL_SWITCH = "KILL_SWITCH"
    HALTED = "HALTED"
    PAUSED = "PAUSED"
    RECONCILING = "RECONCILING"
    SESSION_HOURS = "SESSION_HOURS"
    NEWS_LOCKOUT = "NEWS_LOCKOUT"
    FRESHNESS = "FRESHNESS"
    SANITY = "SANITY"
    PROTECTION = "PROTECTION"
    CONFIDENCE = "CONFIDENCE"
    SINGLE_ORDER = "SINGLE_ORDER"
    POSITION_CAP = "POSITION_CAP"
    EXPOSURE_CAP = "EXPOSURE_CAP"
    LEVERAGE = "LEVERAGE"
    MARGIN = "MARGIN"
    OPEN_EXECUTORS = "OPEN_EXECUTORS"
    OPEN_POSITIONS = "OPEN_POSITIONS"
    TRADE_RISK = "TRADE_RISK"
    PORTFOLIO_RISK = "PORTFOLIO_RISK"
    MARKET_RISK = "MARKET_RISK"
    DAILY_LOSS = "DAILY_LOSS"
    DRAWDOWN = "DRAWDOWN"
    LOCKOUT = "LOCKOUT"
    COOLDOWN = "COOLDOWN"
    DAILY_TRADES = "DAILY_TRADES"
    BUDGET = "BUDGET"
    APPROVAL = "APPROVAL"
    DRY_RUN = "DRY_RUN"


class VerdictKind(StrEnum):
    NOOP = "noop"
    REJECTED = "rejected"
    EXECUTED = "executed"
    UNKNOWN = "unknown"


class IntentKind(StrEnum):
    OPEN = "open"
    INCREASE = "increase"
    REDUCE = "reduce"
    CLOSE = "close"
    UPDATE = "update"
    CANCEL = "cancel"


class IntentState(StrEnum):
    REJECTED = "rejected"
    PENDING = "pending"
    SENT = "sent"
    EXECUTED = "executed"
    VENUE_REJECTED = "venue_rejected"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP_MARKET = "stop_market"
    STOP_LIMIT = "stop_limit"
    TAKE_PROFIT_MARKET = "take_profit_market"
    TAKE_PROFIT_LIMIT = "take_profit_limit"

    @property
    def is_trigger(self) -> bool:
        return self not in (OrderType.MARKET, OrderType.LIMIT)

    @property
    def is_stop(self) -> bool:
        return self in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT)

    @property
    def is_target(self) -> bool:
        return self in (OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT_LIMIT)

    @property
    def has_price(self) -> bool:
        """Whether an order of this type states a limit price."""
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)


class Tif(StrEnum):
    GTC = "gtc"
    IOC = "ioc"
    ALO = "alo"


class OrderState(StrEnum):
    PENDING = "pending"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    TRIGGERED = "triggered"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    @property
    def is_live(self) -> bool:
        return self in (OrderState.PENDING, OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.TRIGGERED, OrderState.UNKNOWN)


class Liquidity(StrEnum):
    TAKER = "taker"
    MAKER = "maker"


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class Direction(StrEnum):
    LONG = "long"
    SHORT = "short"


class ExitReason(StrEnum):
    SIGNAL = "signal"
    FLIP = "flip"
    STOP = "stop"
    TARGET = "target"
    TRAILING_STOP = "trailing_stop"
    TIME_LIMIT = "time_limit"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    MANUAL = "manual"
    FLATTEN = "flatten"
    HALT = "halt"
    KILL = "kill"
    END = "end"


class RunMode(StrEnum):
    DRY_RUN = "dry_run"
    RUN_ONCE = "run_once"
    LOOP = "loop"


class DeploymentState(StrEnum):
    PROVISIONING = "provisioning"
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    ERROR = "error"

    @property
    def is_live(self) -> bool:
        """Whether a runner is expected to own it."""
        return self in (
            DeploymentState.PROVISIONING,
            DeploymentState.RUNNING,
            DeploymentState.PAUSED,
            DeploymentState.HALTED,
            DeploymentState.STOPPING,
        )


class CommandState(StrEnum):
    QUEUED = "queued"
    ACKED = "acked"
    DONE = "done"
    FAILED = "failed"


class CommandKind(StrEnum):
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    FLATTEN = "flatten"
    SNAPSHOT = "snapshot"
    CLEAR_HALT = "clear_halt"
    DIRECTIVE = "directive"
    SUBMIT = "submit"
    RECONCILE = "reconcile"


class KillPolicy(StrEnum):
    """What a kill does with a wallet once it is latched."""

    FLATTEN_ALL = "flatten_all"
    CANCEL_ONLY = "cancel_only"
    KEEP_ALL = "keep_all"


class HaltReason(StrEnum):
    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    KILL = "kill"


class Actor(StrEnum):
    AGENT = "agent"
    ALGO = "algo"
    ENGINE = "engine"
    MANUAL = "manual"
    EXECUTOR = "executor"
    SYSTEM = "system"


class LimitKind(StrEnum):
    """Whose defaults of the limits table apply: by who proposes."""

    AGENT = "agent"
    ALGO = "algo"
    ENGINE = "engine"
    MANUAL = "manual"


class ApprovalState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    DECLINED = "declined"
    EXPIRED = "expired"


class Mode(StrEnum):
    """What the assistant is asked to be, and so what it may see."""

    RESEARCH = "research"
    AUTHORING = "authoring"
    COACH = "coach"
    OPS = "ops"


class Experience(StrEnum):
    BEGINNER = "beginner"
    INTERMEDIATE = "intermediate"
    EXPERT = "expert"


class ThreadKind(StrEnum):
    ASSISTANT = "assistant"
    CHAT = "chat"
    ALERT = "alert"


class MessageState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"


class SuggestionState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    VOID = "void"


class CardKind(StrEnum):
    """What a prepared action does once a person commits it."""

    DEPLOY = "deploy"
    STOP = "stop"
    RESTART = "restart"
    START_BACKTEST = "start_backtest"
    START_SIMULATION = "start_simulation"
    SAVE_DRAFT = "save_draft"
    REBALANCE = "rebalance"


class CardState(StrEnum):
    WAITING = "waiting"
    COMMITTED = "committed"
    DISMISSED = "dismissed"
    VOID = "void"
    EXPIRED = "expired"
    FAILED = "failed"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TokenScope(StrEnum):
    READ = "read"
    ALGO = "algo"
    TRADE = "trade"


class PinState(StrEnum):
    APPROVED = "approved"
    CHANGED = "changed"
    DENIED = "denied"


class ReconcilePhase(StrEnum):
    CHECKING = "checking"
    RECONCILING = "reconciling"
    VERIFYING = "verifying"
    CONSISTENT = "consistent"
    FAILED = "failed"


class ExecutorType(StrEnum):
    ORDER = "order"
    POSITION = "position"
    GRID = "grid"
    DCA = "dca"
    TWAP = "twap"


class ExecutorStatus(StrEnum):
    CREATED = "created"
    ACTIVE = "active"
    TERMINATED = "terminated"


class CloseType(StrEnum):
    """Why an executor ended."""

    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"
    TIME_LIMIT = "time_limit"
    TRAILING_STOP = "trailing_stop"
    EARLY_STOP = "early_stop"
    COMPLETED = "completed"
    FAILED = "failed"


class EventKind(StrEnum):
    DEPLOYMENT_STATE = "deployment.state"
    LEASE_TAKEN = "lease.taken"
    LEASE_LOST = "lease.lost"
    TICK_STARTED = "tick.started"
    TICK_FINISHED = "tick.finished"
    TICK_BLOCKED = "tick.blocked"
    TICK_SKIPPED = "tick.skipped"
    TURN_STARTED = "turn.started"
    TURN_FINISHED = "turn.finished"
    TOOL_CALLED = "tool.called"
    PROPOSAL_REJECTED = "proposal.rejected"
    INTENT_STATE = "intent.state"
    ORDER_STATE = "order.state"
    FILL = "fill"
    POSITION_OPENED = "position.opened"
    POSITION_CHANGED = "position.changed"
    POSITION_CLOSED = "position.closed"
    FUNDING = "funding"
    LIQUIDATION = "liquidation"
    EQUITY = "equity"
    EXECUTOR_STATE = "executor.state"
    COMMAND_STATE = "command.state"
    HALT = "halt"
    LOCKOUT = "lockout"
    RECONCILE_PHASE = "reconcile.phase"
    ALERT_STATE = "alert.state"
    THREAD_STATE = "thread.state"
    APPROVAL_STATE = "approval.state"
    SUGGESTION_STATE = "suggestion.state"
    FLOW = "flow"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_CLOSED = "incident.closed"
    CONFIG_CHANGED = "config.changed"
    NOTIFICATION = "notification"
    CARD_STATE = "card.state"
    JOB_STATE = "job.state"


class IncidentCode(StrEnum):
    UNKNOWN_INTENT = "unknown_intent"
    RECONCILE_MISMATCH = "reconcile_mismatch"
    UNMANAGED_POSITION = "unmanaged_position"
    MISSING_STOP = "missing_stop"
    ORPHAN_STOP = "orphan_stop"
    NAKED_POSITION = "naked_position"
    STALE_FEED = "stale_feed"
    DATA_GAP = "data_gap"
    CLOCK_STEP = "clock_step"
    PROVIDER_FAILED = "provider_failed"
    TICK_FAILED = "tick_failed"
    TICK_TIMEOUT = "tick_timeout"
    MODEL_FAILED = "model_failed"
    BUDGET_EXHAUSTED = "budget_exhausted"
    HALT_DAILY_LOSS = "halt_daily_loss"
    HALT_DRAWDOWN = "halt_drawdown"
    LOCKOUT = "lockout"
    LIQUIDATION = "liquidation"
    KILL = "kill"
    LEASE_LOST = "lease_lost"
    INTERRUPTED = "interrupted"
    EDIT_CONFLICT = "edit_conflict"
    ROUTINE_BROKEN = "routine_broken"
    ALERT_PARKED = "alert_parked"
    NOTIFY_FAILED = "notify_failed"
    LEDGER_BUSY = "ledger_busy"
    DISK_FULL = "disk_full"
    SCAN_FAILED = "scan_failed"
    LIVE_REQUEST_REFUSED = "live_request_refused"
    VENUE_REJECTED_CLOSE = "venue_rejected_close"


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
