"""An agent and an orchestrator in the style of MISTK 1.4."""

from mistk.agent.abstract_agent import AbstractAgent
from mistk.log import get_logger
from mistk.orchestrator.abstract_orchestrator import AbstractOrchestrator

logger = get_logger()


class Mirror(AbstractAgent):
    def do_initialize(self, props, hparams):
        self._sign = hparams.get("sign", 1)

    def do_build_model(self, path=""):
        logger.info("built")

    def do_agent_registered(self, agent_cfg):
        self.update_status({"plays_as": self.agent_name})

    def do_episode_started(self, episode_cfg):
        self._gained = 0

    def do_get_action(self, obs):
        return {name: [self._sign * value for value in values] for name, values in obs.items()}

    def do_replay_action(self, obs):
        self._gained += obs["rewards"][self.agent_name]

    def do_episode_stopped(self):
        self.update_status({"gained": self._gained})


class Echoes(AbstractOrchestrator):
    def do_initialize(self, env, agents_needed):
        self.env_obj = env

    def do_register_agent(self, agent_name, agent_url):
        self.update_status({"registered": sorted(self._agents), "same": self._agents[agent_name] is agent_url})

    def do_start_episode(self, episode_cfg):
        for name, agent in self._agents.items():
            agent.episode_started({"obs": {name: [1]}})
        for _ in range(self._steps):
            for name, agent in self._agents.items():
                action = agent.get_action({name: [1]})[name]
                self.rewards[name].append(action[0])
                if not self._skip_train[name]:
                    agent.replay_action({"rewards": {name: action[0]}, "done": False})

    def do_stop_episode(self):
        self.update_status({name: sum(rewards) for name, rewards in self.rewards.items()})
