"""A server of ours beside a real Label Studio: rounds are published, reconciled and ingested job by job.

No webhook arrives: whatever happens in Label Studio is found by reconciliation.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from catalog import rounds, scorings
from catalog.context import Catalog
from catalog.errors import CatalogError
from catalog.records import (
    EventState,
    JobKind,
    LabelEvent,
    Patch,
    Proposal,
    ProposalReason,
    Round,
    RoundState,
    Scene,
)
from catalog.rounds import Choice
from catalog.secrets import Secrets
from catalog.settings import Settings, Strategy
from imagery.classes import GLACIER_SCHEME
from labeling.client import LabelStudio
from labeling.errors import EventError, RegionError
from services.image_urls import image_urls
from services.label_studio import label_studio
from services.places import raster_store
from tests.real_services import LabelStudioServer
from tests.workers.rows import context_of, finish, patches
from workers.ingest_label import ingest_label
from workers.jobs import JobContext
from workers.publication import Publication
from workers.publish_round import publish_round
from workers.sync_label_studio import sync_label_studio


def settings_beside(server: LabelStudioServer, settings: Settings, title: str) -> Settings:
    """Return the settings of a server of ours beside a real Label Studio, with a project of its own."""
    secrets = Secrets(label_studio_token=server.token)
    settings.secrets_file.write_text(json.dumps(dataclasses.asdict(secrets)))
    changes = {"label_studio_url": server.url, "label_studio_project": title[-50:]}
    return Settings(**{**settings.model_dump(), **changes})


def publication_by_newest(catalog: Catalog) -> Publication:
    """A publication by the version that scored the pool last, a champion of ours, without asking MLflow."""
    with catalog.read() as session:
        scoring = scorings.newest(session)
    store, urls = raster_store(catalog), image_urls(catalog)
    return Publication(catalog, store, urls, GLACIER_SCHEME, scoring, GLACIER_SCHEME.names)


@dataclass
class LabelStudioDesk:
    """Rounds of a scene's patches, and the annotators of a real Label Studio."""

    catalog: Catalog
    scene: Scene

    @property
    def studio(self) -> LabelStudio:
        return label_studio(self.catalog)

    @property
    def http(self) -> Any:
        return self.studio._sdk._client_wrapper.httpx_client

    def choose(self, *numbers: int, reason: ProposalReason = ProposalReason.RANDOM_START) -> list[Proposal]:
        """Choose patches of the scene by their numbers for a round that is to be published."""
        free = patches(self.catalog, self.scene.id)
        with self.catalog.database.write() as session:
            session.add(chosen := Round(strategy=Strategy.RANDOM, size=len(numbers), seed=0))
            session.flush()
            choices = [Choice(free[number].id, reason, None) for number in numbers]
            rounds.store_choices(session, chosen.id, choices)
        return self.proposals(chosen.id)

    def context(self, round_id: int) -> JobContext:
        return context_of(self.catalog, JobKind.PUBLISH_ROUND, str(round_id), round_id=round_id)

    def publish(self, round_id: int) -> list[Proposal]:
        """Do the job that publishes a round; return its proposals."""
        context = self.context(round_id)
        try:
            publish_round(context, round_id)
        finally:
            finish(context)
        return self.proposals(round_id)

    def open(self, *numbers: int, reason: ProposalReason = ProposalReason.RANDOM_START) -> list[Proposal]:
        """Choose and publish a round."""
        return self.publish(self.choose(*numbers, reason=reason)[0].round_id)

    def cut_off(self, round_id: int) -> None:
        """As if the publication of a round had been cut off before its end."""
        with self.catalog.database.write() as session:
            rounds.get(session, round_id).state = RoundState.PUBLISHING

    def reconcile(self) -> None:
        """Do the job that reconciles, and ingest what it found; an event that cannot be ingested is marked so."""
        context = context_of(self.catalog, JobKind.SYNC_LABEL_STUDIO)
        try:
            sync_label_studio(context)
        finally:
            finish(context)
        for event in self.events(EventState.RECEIVED):
            ingestion = context_of(self.catalog, JobKind.INGEST_LABEL, str(event.id), event_id=event.id)
            try:
                ingest_label(ingestion, event.id)
            except (EventError, RegionError, CatalogError):
                pass
            finally:
                finish(ingestion)

    def events(self, *states: EventState) -> list[LabelEvent]:
        """The events of the ledger that are in these states, or all."""
        wanted = LabelEvent.state.in_(states or tuple(EventState))
        with self.catalog.read() as session:
            return list(session.scalars(select(LabelEvent).where(wanted).order_by(LabelEvent.id)))

    def actions(self) -> list[str]:
        """What happened, as the ledger tells, without what failed."""
        return [event.action for event in self.events(EventState.APPLIED, EventState.SUPERSEDED)]

    def proposals(self, round_id: int) -> list[Proposal]:
        with self.catalog.read() as session:
            found = select(Proposal).where(Proposal.round_id == round_id).order_by(Proposal.rank)
            return list(session.scalars(found))

    def states(self, proposal: Proposal) -> tuple[str, str, str]:
        """The states of a proposal, its patch and its round."""
        with self.catalog.read() as session:
            found = session.get_one(Proposal, proposal.id)
            patch = session.get_one(Patch, found.patch_id)
            return found.state.value, patch.state.value, session.get_one(Round, found.round_id).state.value

    def round(self, proposal: Proposal) -> Round:
        with self.catalog.read() as session:
            return session.get_one(Round, proposal.round_id)

    def tasks(self, proposal: Proposal) -> list[int]:
        """The tasks of a proposal that Label Studio has."""
        assert proposal.project_id is not None
        return self.studio.find_tasks(proposal.project_id, [proposal.uid]).get(proposal.uid, [])
