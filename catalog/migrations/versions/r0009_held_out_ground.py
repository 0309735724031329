"""Refuse what would teach validation or test ground, whoever writes: proposals, labels and prior outlines of it."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

HELD_OUT = (
    "(SELECT scenes.role FROM patches JOIN scenes ON scenes.id = patches.scene_id WHERE patches.id = NEW.patch_id) "
    "<> 'pool'"
)
# A column of JSON holds JSON's null where there is none.
PRIORS = "NEW.role <> 'pool' AND NEW.prior_outlines IS NOT NULL AND CAST(NEW.prior_outlines AS TEXT) <> 'null'"
RULES = (
    ("proposals", "INSERT OR UPDATE OF patch_id", HELD_OUT, "its scene judges models: it cannot be proposed"),
    ("labels", "INSERT OR UPDATE OF patch_id", HELD_OUT, "its scene judges models: it cannot be labelled"),
    ("scenes", "INSERT OR UPDATE OF role, prior_outlines", PRIORS, "it judges models: prior outlines would teach it"),
    ("scenes", "UPDATE OF role", "NEW.role <> OLD.role", "the role of a scene is fixed"),
)


def upgrade() -> None:
    for name, (table, events, condition, reason) in _named():
        if op.get_bind().dialect.name == "sqlite":
            for number, event in enumerate(events.split(" OR ")):
                op.execute(
                    f"CREATE TRIGGER {name}_{number} BEFORE {event} ON {table} WHEN {condition} "
                    f"BEGIN SELECT RAISE(ABORT, '{reason}'); END"
                )
            continue
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN "
            f"RAISE EXCEPTION '{reason}' USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NEW; END $$"
        )
        op.execute(f"CREATE TRIGGER {name} BEFORE {events} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")


def downgrade() -> None:
    for name, (table, events, *_) in _named():
        if op.get_bind().dialect.name == "sqlite":
            for number in range(len(events.split(" OR "))):
                op.execute(f"DROP TRIGGER {name}_{number}")
            continue
        op.execute(f"DROP TRIGGER {name} ON {table}")
        op.execute(f"DROP FUNCTION {name}")


def _named() -> list[tuple[str, tuple[str, str, str, str]]]:
    return [(f"held_out_{number}", rule) for number, rule in enumerate(RULES)]
